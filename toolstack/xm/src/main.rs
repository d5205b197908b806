//! The program `xm`; under the name `xl` it speaks as `xl` does.

use std::process::ExitCode;

fn main() -> ExitCode {
    rexen_xm::run(std::env::args_os().collect())
}
