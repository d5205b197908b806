//! Fetches a set of Debian packages into one folder: what a root file system is made of.
//!
//! The guards are those of [`crate::debian`]: apt's signed index, and our lock. All of a set is asked for and downloaded
//! in one go, and is one entry of the cache.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::{Cache, Inputs, sha256_file};
use crate::cmd::Cmd;
use crate::debian::{Consent, fields, refresh_index};
use crate::error::{Error, Exit, Result};
use crate::lock::{Lock, Package, Role};
use crate::ui;

const STEP: &str = "debian-set";

/// A set of packages, unpacked.
#[derive(Clone, Debug)]
pub struct UnpackedSet {
    /// The folder that stands for `/`.
    pub root: PathBuf,
    /// What it is made of, hashed.
    pub key: String,
    /// Which they are.
    pub packages: Vec<Package>,
}

/// The packages of a role that wants many. Of each the first locked version that apt still offers, else (with consent)
/// the newest.
///
/// # Errors
/// Apt does not offer a package, a hash does not match, or a new version lacks consent.
pub fn fetch_set(role: Role, consent: Consent) -> Result<UnpackedSet> {
    let cache = Cache::open()?;
    let mut lock = Lock::read(&Lock::path())?;
    let preferred = preferred(&lock, role);
    if cache.has(STEP, &key_of(&preferred)) {
        return unpack(&cache, &preferred);
    }
    let names: Vec<&str> = preferred.iter().map(|p| p.name.as_str()).collect();
    let mut offers = offered(role, &names)?;
    let mut chosen = choose(&lock, role, &offers);
    if chosen.iter().any(Option::is_none) && refresh_index() {
        offers = offered(role, &names)?;
        chosen = choose(&lock, role, &offers);
    }
    let mut set = Vec::new();
    for (choice, name) in chosen.into_iter().zip(names) {
        set.push(match choice {
            Some(package) => package,
            None => newest(name, &offers, consent, &mut lock)?,
        });
    }
    unpack(&cache, &set)
}

/// Whether the packages of a role that wants many are in the cache, as the lock prefers them.
pub fn has_set(role: Role, cache: &Cache, lock: &Lock) -> bool {
    cache.has(STEP, &key_of(&preferred(lock, role)))
}

/// Of each name the first version in the lock.
fn preferred(lock: &Lock, role: Role) -> Vec<Package> {
    lock.set_of(role).iter().map(|s| s[0].clone()).collect()
}

/// Of each name the first version in the lock that is on offer.
fn choose(lock: &Lock, role: Role, offers: &[Package]) -> Vec<Option<Package>> {
    let pick = |versions: &Vec<&Package>| {
        let mut there = versions.iter().filter(|p| offers.contains(p));
        there.next().map(|&p| p.clone())
    };
    lock.set_of(role).iter().map(pick).collect()
}

/// What to take when no locked version of a package is on offer.
fn newest(name: &str, offers: &[Package], consent: Consent, lock: &mut Lock) -> Result<Package> {
    // Apt shows the newest first.
    let newest = offers.iter().find(|p| p.name == name).ok_or_else(|| {
        Error::new(format!("Debian offers no package {name}"))
            .remedy("as root: apt-get update; does /etc/apt/sources.list* name Debian 12?")
    })?;
    let version = &newest.version;
    ui::note(&format!("Debian offers no locked {name}, but {version}"));
    match consent {
        Consent::Locked => Err(
            Error::new(format!("{name} {version} is not in the lock file"))
                .because("a package that Rexen was not tested with is used only with your consent")
                .remedy("REXEN_ACCEPT_NEW_PACKAGES=1")
                .exit(Exit::LockMismatch),
        ),
        Consent::Use => Ok(newest.clone()),
        Consent::Record => {
            lock.prefer(newest.clone());
            lock.write(&Lock::path())?;
            Ok(newest.clone())
        }
    }
}

/// Every version that apt's index has of these packages.
fn offered(role: Role, names: &[&str]) -> Result<Vec<Package>> {
    let text = Cmd::new("apt-cache").arg("show").args(names).output()?;
    let stanza = |text: &str| {
        Some(Package {
            role,
            name: fields(text, "Package").next()?,
            version: fields(text, "Version").next()?,
            sha256: fields(text, "SHA256").next()?,
        })
    };
    Ok(text.split("\n\n").filter_map(stanza).collect())
}

fn key_of(set: &[Package]) -> String {
    let inputs = set.iter().fold(Inputs::of(STEP), |inputs, package| {
        inputs.text(&package.name, &package.sha256)
    });
    inputs.finish()
}

fn unpack(cache: &Cache, set: &[Package]) -> Result<UnpackedSet> {
    let key = key_of(set);
    let root = cache.get_or_make(STEP, &key, |root| {
        ui::step(&format!("{} Debian packages", set.len()));
        let work = cache.scratch("download")?;
        let wanted = set.iter().map(|p| format!("{}={}", p.name, p.version));
        Cmd::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
            .args(wanted)
            .dir(work.path())
            .run()
            .map_err(|e| e.remedy("is there a network? as root: apt-get update"))?;
        let debs = debs(work.path())?;
        for package in set {
            let (deb, _) = debs
                .iter()
                .find(|(_, hash)| *hash == package.sha256)
                .ok_or_else(|| {
                    Error::new(format!("{} is not what the lock says", package.name))
                        .because(format!("no download has SHA-256 {}", package.sha256))
                })?;
            Cmd::new("dpkg-deb").arg("-x").arg(deb).arg(root).run()?;
        }
        Ok(())
    })?;
    Ok(UnpackedSet {
        root,
        key,
        packages: set.to_vec(),
    })
}

/// The downloaded files and their hashes.
fn debs(dir: &Path) -> Result<Vec<(PathBuf, String)>> {
    let entries = fs::read_dir(dir).map_err(Error::io("read", dir))?;
    let paths = entries.flatten().map(|e| e.path());
    let debs = paths.filter(|p| p.extension().is_some_and(|e| e == "deb"));
    debs.map(|p| sha256_file(&p).map(|hash| (p, hash)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            role: Role::Xl,
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: "0a".repeat(32),
        }
    }

    #[test]
    fn of_each_name_the_first_version_on_offer_is_chosen() {
        let lock = Lock {
            packages: vec![package("a", "2"), package("a", "1"), package("b", "2")],
        };
        let chosen = choose(&lock, Role::Xl, &[package("a", "3"), package("a", "1")]);
        assert_eq!(chosen, [Some(package("a", "1")), None]);
    }

    #[test]
    fn a_new_version_needs_consent() {
        let mut lock = Lock::default();
        let offers = [package("a", "3"), package("a", "2")];
        let mut take = |name, consent| newest(name, &offers, consent, &mut lock);
        assert!(take("a", Consent::Locked).is_err());
        assert_eq!(take("a", Consent::Use).unwrap(), offers[0]);
        assert!(take("b", Consent::Use).is_err());
    }

    #[test]
    fn the_key_tells_sets_apart() {
        let (a, b) = (package("a", "1"), package("b", "1"));
        assert_ne!(key_of(std::slice::from_ref(&a)), key_of(&[a.clone(), b]));
    }
}
