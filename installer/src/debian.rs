//! Fetches Debian packages through apt, and holds them against the lock file.
//!
//! Two guards: apt itself checks a download against the hash in its index, and the index against the
//! archive's signed Release file; we compare the file once more with the index and with our lock. A version
//! that is not in the lock is used only with consent.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, sha256_file};
use crate::cmd::Cmd;
use crate::error::{Error, Exit, Result};
use crate::lock::{Lock, Package, Role};
use crate::ui;

/// What to do when Debian no longer offers a locked version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Stop and say so.
    Locked,
    /// Use what Debian's signed index offers now, say so, and leave the lock file alone (CI).
    Use,
    /// The same, and write it to the lock file.
    Record,
}

impl Consent {
    /// `Use` when `REXEN_ACCEPT_NEW_PACKAGES=1` is in the environment, else `Locked`.
    pub fn from_env() -> Self {
        match std::env::var("REXEN_ACCEPT_NEW_PACKAGES").as_deref() {
            Ok("1") => Consent::Use,
            _ => Consent::Locked,
        }
    }
}

/// A package, unpacked.
#[derive(Clone, Debug)]
pub struct Unpacked {
    /// Which one it is.
    pub package: Package,
    /// The folder that stands for `/`.
    pub root: PathBuf,
}

impl Unpacked {
    /// The one file in `dir` (relative) whose name starts with `prefix`.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, dir: &str, prefix: &str) -> Result<PathBuf> {
        let dir = self.root.join(dir);
        let entries = fs::read_dir(&dir).map_err(Error::io("read", &dir))?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
            .map(|e| e.path())
            .collect();
        found.sort();
        found.into_iter().next().ok_or_else(|| {
            Error::new(format!(
                "{} {} has no {prefix}*",
                self.package.name, self.package.version
            ))
        })
    }
}

/// A kernel with its modules, Debian's or one of ours.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `vmlinuz-*`, a bzImage.
    pub image: PathBuf,
    /// `/lib/modules/<release>`.
    pub modules: PathBuf,
    /// `uname -r`.
    pub release: String,
    /// What tells it from every other one, in the keys of what is made with it.
    pub key: String,
}

/// Debian's stock kernel, from the cache or through apt.
///
/// # Errors
/// No network, or Debian's version is not the locked one.
pub fn fetch_debian_kernel(consent: Consent) -> Result<Kernel> {
    let unpacked = fetch(Role::Kernel, consent)?;
    let image = unpacked.find("boot", "vmlinuz-")?;
    let modules = unpacked.find("lib/modules", "")?;
    let name = modules.file_name().unwrap_or_default();
    let release = name.to_string_lossy().into_owned();
    Ok(Kernel {
        image,
        modules,
        release,
        key: unpacked.package.sha256,
    })
}

/// Debian's Xen, the peer: an uncompressed multiboot image for QEMU's `-kernel`. For tests only.
///
/// # Errors
/// As for the kernel.
pub fn fetch_debian_xen(consent: Consent) -> Result<PathBuf> {
    let unpacked = fetch(Role::Xen, consent)?;
    let entries = fs::read_dir(unpacked.root.join("boot"));
    let packed = entries
        .map_err(Error::io("read", &unpacked.root))?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "gz"))
        .ok_or_else(|| Error::new("Debian's Xen package holds no boot/xen*.gz"))?;
    gunzipped(&packed)
}

/// Domain 0's busybox, a static program.
///
/// # Errors
/// As for the kernel.
pub fn fetch_busybox(consent: Consent) -> Result<(PathBuf, Package)> {
    let unpacked = fetch(Role::Busybox, consent)?;
    Ok((unpacked.find("bin", "busybox")?, unpacked.package))
}

/// QEMU wants its multiboot image uncompressed: returns `image`, or an unpacked copy of it in the cache.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn gunzipped(image: &Path) -> Result<PathBuf> {
    use std::io::Read;
    let bytes = fs::read(image).map_err(Error::io("read", image))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(image.to_owned());
    }
    let dir = Cache::open()?.get_or_make("gunzip", &crate::cache::sha256(&bytes), |dir| {
        let mut plain = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&bytes[..]);
        reader
            .read_to_end(&mut plain)
            .map_err(Error::io("unpack", image))?;
        let out = dir.join("image");
        fs::write(&out, plain).map_err(Error::io("write", &out))
    })?;
    Ok(dir.join("image"))
}

/// The unpacked package for a role: the first locked version that is in the cache or that apt still offers,
/// else (with consent) the newest.
///
/// # Errors
/// Apt has none of them, a hash does not match, or a new version lacks consent.
pub fn fetch(role: Role, consent: Consent) -> Result<Unpacked> {
    let cache = Cache::open()?;
    let mut lock = Lock::read(&Lock::path())?;
    for refreshed in [false, true] {
        if refreshed && !refresh_index() {
            break;
        }
        for package in lock.of(role) {
            let cached = cache.has(STEP, &package.sha256);
            let at_hand = || -> Result<bool> {
                Ok(offered(&package.name, &package.version)?.as_deref() == Some(&*package.sha256))
            };
            if cached || at_hand()? {
                return unpack(&cache, package.clone());
            }
        }
    }
    let newest = newest(role)?;
    let locked: Vec<_> = lock
        .of(role)
        .map(|p| format!("{} {}", p.name, p.version))
        .collect();
    ui::note(&format!(
        "Debian no longer offers {}; it offers {} {}",
        locked.join(" or "),
        newest.name,
        newest.version
    ));
    match consent {
        Consent::Locked => {
            return Err(Error::new(format!("{} {} is not in the lock file", newest.name, newest.version))
                .because("a package that Rexen was not tested with is used only with your consent")
                .remedy("cargo rexen world --accept-new-packages   (takes it and records it)\nREXEN_ACCEPT_NEW_PACKAGES=1                 (takes it, for CI)")
                .exit(Exit::LockMismatch));
        }
        Consent::Use => ui::note("taking it: REXEN_ACCEPT_NEW_PACKAGES=1"),
        Consent::Record => {
            ui::note("taking it, and recording it in image/packages.lock.toml");
            lock.prefer(newest.clone());
            lock.write(&Lock::path())?;
        }
    }
    unpack(&cache, newest)
}

const STEP: &str = "debian";

fn unpack(cache: &Cache, package: Package) -> Result<Unpacked> {
    let root = cache.get_or_make(STEP, &package.sha256, |root| {
        ui::step(&format!(
            "Debian package {} {}",
            package.name, package.version
        ));
        let work = cache.scratch("download")?;
        let deb = download(
            &package.name,
            &package.version,
            &package.sha256,
            work.path(),
        )?;
        Cmd::new("dpkg-deb").arg("-x").arg(&deb).arg(root).run()
    })?;
    Ok(Unpacked { package, root })
}

/// Downloads a package into a folder and holds it against its hash; returns the .deb.
///
/// # Errors
/// No network, or another hash.
pub(crate) fn download(name: &str, version: &str, sha256: &str, dir: &Path) -> Result<PathBuf> {
    Cmd::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
        .arg(format!("{name}={version}"))
        .dir(dir)
        .run()
        .map_err(|e| e.remedy("is there a network? as root: apt-get update"))?;
    let deb = fs::read_dir(dir)
        .map_err(Error::io("read", dir))?
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| Error::new("apt-get download left no .deb file"))?;
    let found = sha256_file(&deb)?;
    if found != sha256 {
        return Err(
            Error::new(format!("{} is not the package it should be", deb.display()))
                .because(format!("SHA-256 is {found}, expected {sha256}")),
        );
    }
    Ok(deb)
}

/// The SHA-256 that apt's index has for a version, if it offers it at all.
pub(crate) fn offered(name: &str, version: &str) -> Result<Option<String>> {
    let show = Cmd::new("apt-cache")
        .arg("show")
        .arg(format!("{name}={version}"));
    let out = show.to_std().output().map_err(|e| {
        Error::new("cannot start apt-cache")
            .because(e)
            .remedy("Rexen takes domain 0's kernel from Debian: run this on Debian 12")
    })?;
    Ok(field(&String::from_utf8_lossy(&out.stdout), "SHA256"))
}

/// The first value of a field in apt's output.
fn field(text: &str, name: &str) -> Option<String> {
    fields(text, name).next()
}

/// The values of a field in apt's output.
pub(crate) fn fields(text: &str, name: &str) -> impl Iterator<Item = String> {
    let values = text.lines().filter_map(|l| l.split_once(": "));
    values
        .filter(move |(n, _)| *n == name)
        .map(|(_, v)| v.trim().to_owned())
}

/// The newest version that apt offers for a role.
fn newest(role: Role) -> Result<Package> {
    let mut name = role.newest().to_owned();
    let show = |name: &str| {
        Cmd::new("apt-cache")
            .args(["show", "--no-all-versions"])
            .arg(name)
            .output()
            .map_err(|e| {
                e.remedy("as root: apt-get update; does /etc/apt/sources.list* name Debian 12?")
            })
    };
    let mut text = show(&name)?;
    if role == Role::Kernel {
        let depends = field(&text, "Depends").unwrap_or_default();
        let real = depends
            .split([' ', ','])
            .find(|d| d.starts_with("linux-image-"));
        name = real.map(str::to_owned).ok_or_else(|| {
            Error::new(format!("{name} depends on no linux-image-*")).because(depends.clone())
        })?;
        text = show(&name)?;
    }
    let get = |f: &str| {
        field(&text, f).ok_or_else(|| Error::new(format!("apt-cache show {name} has no {f}")))
    };
    Ok(Package {
        role,
        version: get("Version")?,
        sha256: get("SHA256")?,
        name,
    })
}

/// `apt-get update`, once per process and only as root; returns whether the index is new.
pub(crate) fn refresh_index() -> bool {
    use std::sync::OnceLock;
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| {
        crate::packages::is_root() && Cmd::new("apt-get").args(["-q", "update"]).run().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "Package: x\nVersion: 1-2\nSHA256: ab\nDescription: Version: 9\n\nVersion: 3\n";
        assert_eq!(field(text, "Version").as_deref(), Some("1-2"));
        assert_eq!(field(text, "SHA256").as_deref(), Some("ab"));
        assert_eq!(field(text, "SHA"), None);
    }

    #[test]
    fn a_plain_image_is_used_where_it_is() {
        let path = std::env::temp_dir().join(format!("rexen-plain-{}", std::process::id()));
        fs::write(&path, b"\x7fELF").unwrap();
        assert_eq!(gunzipped(&path).unwrap(), path);
        fs::remove_file(path).unwrap();
    }
}
