//! The manual's table of variables is the registry's.

use rexen_config::create::predefined;
use rexen_config::vars::VARIABLES;
use std::fmt::Write;
use std::path::Path;

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    std::fs::read_to_string(path).expect("docs/configuration.md can be read")
}

#[test]
fn the_table_of_variables_is_the_registrys() {
    let mut table = String::new();
    for variable in VARIABLES {
        let (name, kind) = (variable.name, variable.kind.name());
        let row = writeln!(
            table,
            "| `{name}` | {kind} | {} | {} |",
            variable.default, variable.help
        );
        row.expect("a string can be written to");
    }
    let manual = manual();
    assert!(
        manual.contains(&format!("|---|---|---|---|\n{table}\n")),
        "the table in docs/configuration.md should be:\n{table}"
    );
}

#[test]
fn predefined_names_are_explained() {
    let manual = manual();
    for name in predefined() {
        assert!(
            manual.contains(&format!("`{name}")),
            "docs/configuration.md does not name {name}"
        );
    }
}
