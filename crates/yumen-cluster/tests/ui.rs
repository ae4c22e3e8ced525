//! What the compiler says when a handler, a middleware or a body does not fit, pinned in our words.
//!
//! `TRYBUILD=overwrite cargo test -p yumen-cluster --test ui` writes the messages anew; read them.
#![cfg(feature = "json")]

#[test]
fn a_function_that_does_not_fit_is_refused_in_our_words() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
