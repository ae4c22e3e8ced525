//! Any bytes, read as a settings file of any format: no panic, no loop, nothing nested beyond the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yumen_fuzz::depth;
use yumen_settings::{
    Settings,
    format::{DEPTH_MAX, Format},
    tree::{Origin, Tree},
};

fuzz_target!(|input: &[u8]| {
    let Some((&selector, bytes)) = input.split_first() else { return };
    let format = Format::ALL[usize::from(selector) % Format::ALL.len()];
    let node = match format.parse(bytes, &Origin::Code) {
        Ok(node) => node,
        Err(problem) => {
            assert!(!problem.to_string().is_empty());
            return;
        }
    };
    assert!(node.table().is_some(), "a file is a table");
    assert!(depth(&node) <= DEPTH_MAX);
    let mut tree = Tree::default();
    tree.insert("etc", node);
    if let Ok(settings) = Settings::from_tree(tree, Vec::new()) {
        assert!(settings.changed(&settings).is_empty());
    }
});
