//! Where the kernels' source comes from: the pin `guest-kernel-patches/linux.toml`, and the tarball it names.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::series::Misfit;
use crate::cache::{Cache, sha256_file};
use crate::cmd::Cmd;
use crate::debian::{self, Consent};
use crate::error::{Error, Exit, Result};
use crate::{tree, ui};

/// The cache step that keeps source tarballs, by the SHA-256 of the package they came in.
const STEP: &str = "linux-source";
const TARBALL: &str = "linux.tar";

/// One Debian source package of Linux, pinned by content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Debian's package name.
    pub package: String,
    /// Debian's version.
    pub version: String,
    /// SHA-256 of the .deb, in hex.
    pub sha256: String,
    /// The source tarball within the package.
    pub tarball: String,
    /// SHA-256 of that tarball, in hex: a tarball given by hand is known by it.
    pub tarball_sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    source: Pin,
}

/// The folder of the pin, the series and the configuration fragments.
pub fn patches_dir() -> PathBuf {
    tree::root().join("guest-kernel-patches")
}

impl Pin {
    /// Where the pin is.
    pub fn path() -> PathBuf {
        patches_dir().join("linux.toml")
    }

    /// Reads a pin.
    ///
    /// # Errors
    /// It cannot be read, or an entry is malformed (the cause names the line).
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text).map_err(|e| e.in_file(path))
    }

    fn parse(text: &str) -> Result<Self> {
        let malformed = || Error::new("malformed source pin");
        let pin = toml::from_str::<PinFile>(text)
            .map_err(|e| malformed().because(e))?
            .source;
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        for (name, sum) in [
            ("sha256", &pin.sha256),
            ("tarball_sha256", &pin.tarball_sha256),
        ] {
            if sum.len() != 64 || !sum.chars().all(hex) {
                return Err(
                    malformed().because(format!("{name} is not 64 lower-case hex digits: {sum:?}"))
                );
            }
        }
        Ok(pin)
    }

    /// The text of a pin file with this pin's values put in; remarks and order stay as they are.
    ///
    /// # Errors
    /// A key has no line of its own.
    pub fn rewrite(&self, text: &str) -> Result<String> {
        let values = [
            ("package", &self.package),
            ("version", &self.version),
            ("sha256", &self.sha256),
            ("tarball", &self.tarball),
            ("tarball_sha256", &self.tarball_sha256),
        ];
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (key, value) in values {
            let is_its = |l: &String| l.split_once('=').is_some_and(|(k, _)| k.trim() == key);
            let line = lines.iter_mut().find(|l| is_its(l)).ok_or_else(|| {
                Error::new(format!("linux.toml has no line `{key} = ...` to rewrite"))
            })?;
            let remark = line
                .rfind('"')
                .map_or("", |end| &line[end + 1..])
                .to_owned();
            *line = format!("{key} = {value:?}{remark}");
        }
        let text = lines.join("\n") + "\n";
        if Self::parse(&text)? != *self {
            return Err(Error::new("cannot rewrite linux.toml")
                .because("it writes one of its keys in a way that is not understood")
                .remedy("one key per line, its value in double quotes"));
        }
        Ok(text)
    }
}

/// A source tarball at hand.
#[derive(Clone, Debug)]
pub struct Tarball {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// What messages call it.
    pub label: String,
    /// What becomes of patches and settings that do not fit it.
    pub misfit: Misfit,
}

/// A tarball that somebody gave; if it is not the pinned one, a patch or a setting that does not fit it is left out.
///
/// # Errors
/// It cannot be read.
pub fn given(path: &Path, pin: &Pin) -> Result<Tarball> {
    let sha256 = sha256_file(path)?;
    Ok(Tarball {
        path: std::path::absolute(path).map_err(Error::io("find", path))?,
        misfit: match sha256 == pin.tarball_sha256 {
            true => Misfit::Refuse,
            false => Misfit::LeaveOut,
        },
        sha256,
        label: path.display().to_string(),
    })
}

/// The pinned tarball, from the cache or through apt; another one where the pinned is gone and there is consent.
///
/// # Errors
/// No network; a hash does not match; or the pinned version is gone and nobody consented to another.
pub fn fetch(cache: &Cache, pin: &Pin, consent: Consent) -> Result<Tarball> {
    if cache.has(STEP, &pin.sha256) || is_offered(pin)? {
        return unpack(cache, pin, true);
    }
    let newest = newest(&pin.package)?;
    ui::note(&format!(
        "Debian no longer offers {} {}; it offers {}",
        pin.package, pin.version, newest.version
    ));
    if consent == Consent::Locked {
        return Err(Error::new(format!(
            "{} {} is not the pinned source",
            newest.package, newest.version
        ))
        .because("a source that the patches were not tested with is used only with your consent")
        .remedy(
            "cargo rexen kernel update        (checks the patches and pins it)\n\
             --source FILE                    (the pinned tarball, or another, from elsewhere)\n\
             REXEN_ACCEPT_NEW_PACKAGES=1      (takes it and pins nothing, for CI)",
        )
        .exit(Exit::LockMismatch));
    }
    ui::note("taking it; `cargo rexen kernel update` pins it");
    unpack(cache, &newest, false)
}

/// Downloads what `pin` names and completes it: the tarball's own name and hash.
///
/// # Errors
/// As [`fetch`].
pub fn complete(cache: &Cache, pin: &Pin) -> Result<(Pin, Tarball)> {
    let tarball = unpack(cache, pin, false)?;
    let pin = Pin {
        tarball_sha256: tarball.sha256.clone(),
        ..pin.clone()
    };
    Ok((pin, tarball))
}

fn is_offered(pin: &Pin) -> Result<bool> {
    let at_hand = || -> Result<bool> {
        Ok(debian::offered(&pin.package, &pin.version)?.as_deref() == Some(&*pin.sha256))
    };
    Ok(at_hand()? || (debian::refresh_index() && at_hand()?))
}

fn unpack(cache: &Cache, pin: &Pin, is_pinned: bool) -> Result<Tarball> {
    let dir = cache.get_or_make(STEP, &pin.sha256, |dir| {
        ui::step(&format!("Linux source {} {}", pin.package, pin.version));
        let work = cache.scratch("download")?;
        let deb = debian::download(&pin.package, &pin.version, &pin.sha256, work.path())?;
        let root = work.path().join("root");
        Cmd::new("dpkg-deb").arg("-x").arg(&deb).arg(&root).run()?;
        let from = root.join(&pin.tarball);
        let sum = sha256_file(&from)?;
        if is_pinned && sum != pin.tarball_sha256 {
            return Err(Error::new(format!(
                "{} in {} {} is not the tarball it should be",
                pin.tarball, pin.package, pin.version
            ))
            .because(format!(
                "SHA-256 is {sum}, {} says {}",
                Pin::path().display(),
                pin.tarball_sha256
            )));
        }
        let to = dir.join(TARBALL);
        fs::rename(&from, &to).map_err(Error::io("write", &to))?;
        let to = dir.join("sha256");
        fs::write(&to, sum).map_err(Error::io("write", &to))
    })?;
    let sum = dir.join("sha256");
    Ok(Tarball {
        path: dir.join(TARBALL),
        sha256: fs::read_to_string(&sum).map_err(Error::io("read", &sum))?,
        label: format!("{} {}", pin.package, pin.version),
        misfit: Misfit::Refuse,
    })
}

/// Whether the pinned package's tarball is in the cache.
pub fn is_cached(cache: &Cache, pin: &Pin) -> bool {
    cache.has(STEP, &pin.sha256)
}

/// What apt offers now; the tarball's hash is not known before it is downloaded, and left empty.
///
/// # Errors
/// Apt does not know the package.
pub fn newest(package: &str) -> Result<Pin> {
    let text = Cmd::new("apt-cache")
        .args(["show", "--no-all-versions"])
        .arg(package)
        .output()
        .map_err(|e| {
            e.remedy("as root: apt-get update; does /etc/apt/sources.list* name Debian 12?")
        })?;
    let get = |f: &str| {
        debian::fields(&text, f)
            .next()
            .ok_or_else(|| Error::new(format!("apt-cache show {package} has no {f}")))
    };
    Ok(Pin {
        package: package.to_owned(),
        version: get("Version")?,
        sha256: get("SHA256")?,
        tarball: format!("usr/src/{package}.tar.xz"),
        tarball_sha256: String::new(),
    })
}

/// The version that apt offers, if it is newer than the pinned one. No answer from apt is no newer version.
pub fn newer(pin: &Pin) -> Option<String> {
    let offered = newest(&pin.package).ok()?.version;
    Cmd::new("dpkg")
        .args(["--compare-versions", &offered, "gt", &pin.version])
        .output()
        .is_ok()
        .then_some(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sha256: &str) -> String {
        format!(
            "# why this one\n[source]\npackage = \"linux-source-6.1\"\nversion = \"6.1.1-1\" # tested\n\
             sha256 = \"{sha256}\"\ntarball = \"usr/src/l.tar.xz\"\ntarball_sha256 = \"{}\"\n",
            "1b".repeat(32)
        )
    }

    #[test]
    fn a_new_pin_changes_the_values_and_keeps_the_remarks() {
        let before = text(&"0a".repeat(32));
        let pin = Pin {
            version: "6.1.2-1".into(),
            sha256: "0c".repeat(32),
            ..Pin::parse(&before).unwrap()
        };
        let after = pin.rewrite(&before).unwrap();
        assert!(after.starts_with("# why this one\n[source]\n"));
        assert!(after.contains("version = \"6.1.2-1\" # tested\n"));
        assert_eq!(Pin::parse(&after).unwrap(), pin);
        assert_eq!(pin.rewrite(&after).unwrap(), after);
    }

    #[test]
    fn malformed_pins_are_refused_with_their_place() {
        assert!(
            Pin::parse(&text("0a"))
                .unwrap_err()
                .cause
                .unwrap()
                .contains("sha256")
        );
        let extra = text(&"0a".repeat(32)) + "colour = 1\n";
        assert!(
            Pin::parse(&extra)
                .unwrap_err()
                .cause
                .unwrap()
                .contains("line 8")
        );
        let missing = text(&"0a".repeat(32)).replace("version", "# version");
        let cause = Pin::parse(&missing).unwrap_err().cause.unwrap();
        assert!(cause.contains("version"), "{cause}");
    }

    #[test]
    fn a_pin_that_cannot_be_rewritten_is_said_so() {
        let pin = Pin::parse(&text(&"0a".repeat(32))).unwrap();
        let inline = "source = { package = \"a\" }\n";
        assert!(pin.rewrite(inline).is_err());
    }
}
