//! `cargo rexen reproduce`: the commit is built here, and from nothing in another folder, by another user with other habits, on
//! a host with another name; tree, tarball and image must be the same to the last byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cache::Cache;
use crate::cmd::Cmd;
use crate::debian::Consent;
use crate::dist::{self, MANIFEST, TreeOptions, facts, tarball};
use crate::error::{Error, Result};
use crate::image::{self, ImageOptions};
use crate::kernel::KernelOptions;
use crate::{compare, packages, tree, ui};

/// What is fetched, and held against a recorded hash: the second build takes it from the cache of the first.
const FETCHED: [&str; 3] = ["debian", "debian-set", "linux-source"];
/// What our kernels leave in the cache.
const KERNELS: [&str; 2] = ["kernel-xen0", "kernel-xenU"];
/// What the second builder's environment has otherwise. ccache would only give back what the first build made.
const HABITS: [(&str, &str); 8] = [
    ("USER", "somebody"),
    ("LOGNAME", "somebody"),
    ("HOSTNAME", "elsewhere"),
    ("HOME", "/nonexistent"),
    ("TZ", "Pacific/Chatham"),
    ("LANG", "C"),
    ("LC_ALL", "C"),
    ("CCACHE_DISABLE", "1"),
];
/// Variables of the first builder that name his places or change what is built.
const FORGOTTEN: [&str; 3] = ["CARGO_TARGET_DIR", "XDG_CONFIG_HOME", "RUSTFLAGS"];
/// A shell's script that runs a command on a host with another name, where nobody else may read what it makes.
pub const ELSEWHERE: &str = "hostname elsewhere.example && umask 077 && exec \"$@\"";

/// How to go about it.
#[derive(Clone, Debug)]
pub struct Reproduce {
    /// The second build takes the first one's kernels: minutes in place of most of an hour.
    pub same_kernels: bool,
    /// What to do about packages that Debian no longer has.
    pub consent: Consent,
}

impl Reproduce {
    /// Builds twice and compares.
    ///
    /// # Errors
    /// A build fails, or something differs: each file is named on stdout then, with its first byte that does. The second
    /// build's folder stays, to look at.
    pub fn run(&self) -> Result<()> {
        let facts = facts::collect()?;
        if facts.modified {
            return Err(Error::new(
                "a commit is built twice, and here are changes that are in none",
            )
            .remedy("git commit or git stash them (git status names them)"));
        }
        let begun = Instant::now();
        ui::step(&format!("first build of {:.12}, here", facts.commit));
        let options = TreeOptions {
            // Not the user's own settings: they are in no commit.
            kernels: KernelOptions {
                consent: self.consent,
                ..KernelOptions::default()
            },
            ..TreeOptions::default()
        };
        dist::build_tree(&tree::dist_install(), &options)?;
        let first = Built {
            tarball: tarball::pack(&tree::dist_install(), &tree::dist())?,
            image: image::build_image(
                &ImageOptions {
                    tree: options,
                    from: Some(tree::dist_install()),
                    ..ImageOptions::default()
                },
                &tree::dist(),
            )?,
            dist: tree::dist(),
        };
        let place = Cache::open()?.root().join("reproduce");
        if place.exists() {
            fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
        }
        let second = self.build_elsewhere(&place, &facts.commit, &first)?;
        ui::step("comparing");
        let lines = differences(&first, &second)?;
        for line in &lines {
            ui::result(line);
        }
        if !lines.is_empty() {
            let count = lines.len();
            return Err(Error::new(format!(
                "two builds of {:.12} differ ({count}, named above)",
                facts.commit
            ))
            .because("the first difference is usually the cause of the others")
            .remedy(format!(
                "compare {} with {}",
                first.dist.display(),
                second.dist.display()
            )));
        }
        fs::remove_dir_all(&place).map_err(Error::io("remove", &place))?;
        let kernels = if self.same_kernels {
            " The kernels were built once."
        } else {
            ""
        };
        ui::result(&format!(
            "{:.12}: install tree ({} files), {} and {} are identical in two builds ({} s).{kernels}",
            facts.commit,
            dist::scan::scan(&tree::dist_install())?.len(),
            name(&first.tarball),
            image::NAME,
            begun.elapsed().as_secs()
        ));
        Ok(())
    }

    /// Clones the commit below `place` and builds it there with a cache of its own.
    fn build_elsewhere(&self, place: &Path, commit: &str, first: &Built) -> Result<Built> {
        ui::step(&format!("second build, in {}", place.display()));
        let source = place.join("with a space/and-a-longer-path");
        fs::create_dir_all(&source).map_err(Error::io("create", &source))?;
        let git = |args: &[&str]| Cmd::new("git").args(args).dir(&source).run();
        git(&["init", "--quiet"])?;
        let here = tree::root().to_string_lossy();
        git(&["fetch", "--quiet", "--depth=1", &here, commit])?;
        git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;

        let mine = Cache::open()?.root().to_owned();
        let cache = place.join("cache");
        let theirs = cache.join("rexen");
        fs::create_dir_all(&theirs).map_err(Error::io("create", &theirs))?;
        let kernels = KERNELS.iter().filter(|_| self.same_kernels);
        for step in FETCHED.iter().chain(kernels) {
            let to = theirs.join(step);
            std::os::unix::fs::symlink(mine.join(step), &to).map_err(Error::io("create", &to))?;
        }
        self.rexen(&source, &cache, &["build", "tarball"])?;
        self.rexen(&source, &cache, &["image", "--tree", "dist/install"])?;
        let dist = source.join("dist");
        Ok(Built {
            tarball: dist.join(name(&first.tarball)),
            image: dist.join(image::NAME),
            dist,
        })
    }

    /// Runs the orchestrator of the clone.
    fn rexen(&self, source: &Path, cache: &Path, words: &[&str]) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // Another name for the host takes root; without it the rest is still other.
        let mut cmd = match packages::is_root() {
            true => Cmd::new("unshare")
                .args(["--uts", "--mount", "sh", "-c", ELSEWHERE, "sh"])
                .arg(&cargo),
            false => Cmd::new(&cargo),
        };
        cmd = cmd
            .arg("rexen")
            .args(words)
            .dir(source)
            .env("XDG_CACHE_HOME", cache);
        if self.consent != Consent::Locked {
            cmd = cmd.env("REXEN_ACCEPT_NEW_PACKAGES", "1");
        }
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let set = std::env::var_os(name).map(PathBuf::from);
            let usual = || std::env::home_dir().map(|home| home.join(folder));
            if let Some(path) = set.or_else(usual) {
                cmd = cmd.env(name, path);
            }
        }
        cmd = HABITS
            .iter()
            .fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        FORGOTTEN
            .iter()
            .fold(cmd, |cmd, name| cmd.without_env(name))
            .run()
    }
}

/// What a build made for users.
struct Built {
    dist: PathBuf,
    tarball: PathBuf,
    image: PathBuf,
}

/// A line for each difference, files of the tree first.
fn differences(first: &Built, second: &Built) -> Result<Vec<String>> {
    let install = |built: &Built| built.dist.join("install");
    let mut lines = compare::folders(&install(first), &install(second))?;
    // A difference in the tree is one in its manifest, its tarball and the image, too; what shows it best comes first.
    lines.sort_by_key(|line| line.starts_with(MANIFEST));
    let list = |built: &Built| format!("{}.toml", built.image.display());
    let pairs = [
        (first.tarball.clone(), second.tarball.clone()),
        (list(first).into(), list(second).into()),
        (first.image.clone(), second.image.clone()),
    ];
    for (a, b) in pairs {
        let how = compare::contents(&a, &b)?;
        lines.extend(how.map(|how| format!("{}: {how}", name(&a))));
    }
    Ok(lines)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
