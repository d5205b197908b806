//! The SBOM: what the tree is made from, as SPDX 2.3 in JSON, for the tools that read that.

use serde_json::{Value, json};

use super::facts::{self, Facts, Kind, NAME, Source};
use crate::cmd::Cmd;
use crate::error::{Error, Result};

const OURS: &str = "SPDXRef-rexen";

/// The document.
///
/// # Errors
/// The host has no `date` to write the time with.
pub fn text(facts: &Facts) -> Result<String> {
    let at = format!("@{}", facts.time);
    let created = Cmd::new("date")
        .args(["--utc", "--date", &at, "+%Y-%m-%dT%H:%M:%SZ"])
        .output()?;
    let mut packages = vec![ours(facts)];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", OURS)];
    for source in &facts.sources {
        packages.push(package(source));
        relations.push(match source.kind {
            Kind::Crate => relation(OURS, "STATIC_LINK", &id(source)),
            Kind::Debian => relation(OURS, "GENERATED_FROM", &id(source)),
            Kind::Patch => relation(&id(source), "PATCH_APPLIED", OURS),
        });
    }
    for (tool, version) in &facts.toolchain {
        let id = format!("SPDXRef-Tool-{tool}");
        packages.push(named(&id, tool, "NOASSERTION", version));
        relations.push(match tool.as_str() {
            // Programs are static: they hold it.
            facts::LIBC => relation(OURS, "STATIC_LINK", &id),
            _ => relation(&id, "BUILD_TOOL_OF", OURS),
        });
    }
    let name = format!("{NAME}-{}", facts.version);
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "documentNamespace": format!("https://spdx.org/spdxdocs/{name}-{}", facts.commit),
        "name": name,
        "creationInfo": { "created": created.trim(), "creators": ["Tool: cargo-rexen"] },
        "packages": packages,
        "relationships": relations,
    });
    let text = serde_json::to_string_pretty(&document)
        .map_err(|e| Error::new("cannot write the SBOM").because(e))?;
    Ok(text + "\n")
}

fn ours(facts: &Facts) -> Value {
    let mut package = named(OURS, NAME, env!("CARGO_PKG_LICENSE"), &facts.version);
    package["sourceInfo"] = json!(format!("commit {}", facts.commit));
    package
}

fn named(id: &str, name: &str, licence: &str, version: &str) -> Value {
    json!({
        "SPDXID": id,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": if licence.is_empty() { "NOASSERTION" } else { licence },
        "copyrightText": "NOASSERTION",
    })
}

fn package(source: &Source) -> Value {
    // A patch has no version but its content.
    let version = source.version.as_ref().unwrap_or(&source.sha256);
    let mut package = named(&id(source), &source.name, &source.licence, version);
    package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": source.sha256 }]);
    let kind = match source.kind {
        Kind::Debian => "deb/debian",
        Kind::Crate => "cargo",
        Kind::Patch => return package,
    };
    // In a package URL "+" and ":" stand for something else.
    let escaped = version.replace('+', "%2B").replace(':', "%3A");
    package["externalRefs"] = json!([{
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": format!("pkg:{kind}/{}@{escaped}", source.name),
    }]);
    package
}

fn relation(from: &str, what: &str, to: &str) -> Value {
    json!({
        "spdxElementId": from,
        "relationshipType": what,
        "relatedSpdxElement": to,
    })
}

/// An identifier of letters, digits, dots and dashes, as SPDX wants them.
fn id(source: &Source) -> String {
    let version = source.version.as_deref().unwrap_or_default();
    let words = format!("{:?}-{}-{version}", source.kind, source.name);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let id: String = words.trim_end_matches('-').chars().map(plain).collect();
    format!("SPDXRef-{id}")
}
