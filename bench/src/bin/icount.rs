//! Instruction counts of the codecs, by callgrind. See `yumen_bench::icount`.
use std::process::ExitCode;

fn main() -> ExitCode {
    yumen_bench::icount::main()
}
