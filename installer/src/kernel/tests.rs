//! A kernel in seconds: a fake source tree whose makefile answers as Linux' does, taken through everything a real
//! one goes through. `cc` here is a program that the makefile calls, so that each test can have it fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::fragment::{Asker, Requests};
use super::make::Make;
use super::series::{Misfit, Series};
use super::shop::Shop;
use super::source::{Pin, Tarball};
use super::*;
use crate::cmd::Cmd;
use crate::error::Exit;

/// As much of kbuild as we use. `allnoconfig` drops the requests for symbols that no `config` line of Kconfig names.
const MAKEFILE: &str = r#"
S := $(CURDIR)
RELEASE = $(shell sed -n 's/^CONFIG_LOCALVERSION="\(.*\)"/9.9.9\1/p' $(O)/.config)
OBJS := $(addprefix $(O)/,one.o two.o three.o)
allnoconfig:
	@sed -n 's/^config /CONFIG_/p' $(S)/Kconfig > $(O)/known
	@grep -w -f $(O)/known $(KCONFIG_ALLCONFIG) > $(O)/.config.new || true
	@cmp -s $(O)/.config.new $(O)/.config || cp $(O)/.config.new $(O)/.config
savedefconfig: ; @cp $(O)/.config $(O)/defconfig
kernelrelease: ; @echo $(RELEASE)
menuconfig: ; @echo CONFIG_MENU=y >> $(KCONFIG_CONFIG)
$(O)/%.o: $(S)/%.c ; @echo '  CC      $*.o'; sh $(S)/cc $< $@
.DELETE_ON_ERROR:
$(O)/vmlinux: $(OBJS) $(O)/.config
	@echo '  LD      vmlinux'; readlink /proc/$$PPID/fd/0 > $(O)/stdin
	@{ cat $(OBJS); echo "$(RELEASE) $$KBUILD_BUILD_USER $$KBUILD_BUILD_HOST $$USER"; } > $@
bzImage: $(O)/vmlinux
	@mkdir -p $(O)/arch/x86/boot; cp $< $(O)/arch/x86/boot/bzImage; echo 0000000000000000 T _text > $(O)/System.map
modules: ; @echo '  GEN     modules.builtin'
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/$(RELEASE)
	@ln -s $(S) $(INSTALL_MOD_PATH)/lib/modules/$(RELEASE)/build
	@cd $(INSTALL_MOD_PATH)/lib/modules/$(RELEASE) && touch modules.order modules.builtin.modinfo
	@echo kernel/fs/ext4/ext4.ko > $(INSTALL_MOD_PATH)/lib/modules/$(RELEASE)/modules.builtin
"#;
const CC: &str = "cp $1 $2\n";

struct Fake {
    root: PathBuf,
    fragment: String,
    patches: Vec<(&'static str, String)>,
}

impl Fake {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("rexen-kernel-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let linux = root.join("linux-9.9.9");
        fs::create_dir_all(linux.join("arch/x86/configs")).unwrap();
        let fake = Self {
            root,
            fragment: "CONFIG_LOCALVERSION=\"-xen0\"\nCONFIG_EXT4_FS=y\n".to_owned(),
            patches: Vec::new(),
        };
        let kconfig = "config LOCALVERSION\n\tstring \"x\"\nconfig EXT4_FS\n\tbool \"x\"\n";
        for (name, text) in [
            ("Makefile", MAKEFILE),
            ("Kconfig", kconfig),
            ("cc", CC),
            ("one.c", "one\n"),
            ("two.c", "two\n"),
            ("three.c", "three\n"),
        ] {
            fs::write(linux.join(name), text).unwrap();
        }
        fake
    }

    /// Packs what is in the folder, and gives it as the pinned tarball or as another.
    fn tarball(&self, misfit: Misfit) -> Tarball {
        let path = self.root.join("linux.tar");
        let tar = Cmd::new("tar")
            .arg("-C")
            .arg(&self.root)
            .arg("-cf")
            .arg(&path);
        tar.arg("linux-9.9.9").output().unwrap();
        Tarball {
            path,
            sha256: "5a".repeat(32),
            label: "linux 9.9.9".to_owned(),
            misfit,
        }
    }

    fn recipe(&self) -> Recipe {
        let dir = self.root.join("patches");
        fs::create_dir_all(&dir).unwrap();
        let names: String = self.patches.iter().map(|(n, _)| format!("{n}\n")).collect();
        fs::write(dir.join("series"), names).unwrap();
        for (name, text) in &self.patches {
            fs::write(dir.join(name), text).unwrap();
        }
        let mut requests = Requests::default();
        requests
            .add("xen0.config", &self.fragment, Asker::Ours)
            .unwrap();
        Recipe {
            flavour: Flavour::Xen0,
            pin: Pin::read(&Pin::path()).unwrap(),
            series: Series::read(&dir).unwrap(),
            requests,
            tools: "gcc 12".to_owned(),
        }
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn build_in(&self, work: &Path, options: &KernelOptions) -> Result<Kernel> {
        let out = work.join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).unwrap();
        let tarball = self.tarball(Misfit::Refuse);
        Shop::open(work)?.build(&self.recipe(), &tarball, options, &out)?;
        Kernel::within(&out, Flavour::Xen0, String::new())
    }

    fn build(&self) -> Result<Kernel> {
        self.build_in(&self.work(), &KernelOptions::default())
    }

    /// Replaces the compiler in the unpacked tree.
    fn set_cc(&self, script: &str) {
        fs::write(self.work().join("tree/cc"), script).unwrap();
    }

    fn object_times(&self) -> BTreeMap<String, SystemTime> {
        let time = |name: &str| {
            let path = self.work().join("objects-xen0").join(name);
            fs::metadata(path).unwrap().modified().unwrap()
        };
        ["one.o", "two.o", "three.o"]
            .map(|name| (name.to_owned(), time(name)))
            .into()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_kernel_is_its_image_symbols_map_config_and_modules() {
    let fake = Fake::new("whole");
    let kernel = fake.build().unwrap();
    assert_eq!(kernel.release, "9.9.9-xen0");
    assert!(kernel.image.ends_with("boot/vmlinuz-9.9.9-xen0"));
    assert!(text(&kernel.image).starts_with("one\ntwo\nthree\n"));
    assert!(text(&kernel.config).contains("CONFIG_EXT4_FS=y"));
    assert!(kernel.syms.is_file() && kernel.map.is_file());
    assert!(kernel.modules.join("modules.dep").is_file());
    assert!(
        !kernel.modules.join("build").is_symlink(),
        "it would lead into the builder's folders"
    );
    let defconfig = fake.work().join("tree/arch/x86/configs/xen0_defconfig");
    assert_eq!(text(&defconfig), text(&kernel.config));
}

#[test]
fn an_installed_kernel_takes_the_place_of_an_older_one_of_its_flavour() {
    let mut fake = Fake::new("install");
    let root = fake.root.join("install");
    let names = |dir: &str| {
        let entries = fs::read_dir(root.join(dir)).unwrap().flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    install::install_below(&root, &fake.build().unwrap()).unwrap();
    fs::write(root.join("boot/xen.gz"), "").unwrap();
    fs::write(root.join("boot/vmlinuz-9.9.8-xenU"), "").unwrap();
    fake.fragment += "CONFIG_LOCALVERSION=\"-mine-xen0\"\n";
    install::install_below(&root, &fake.build().unwrap()).unwrap();
    assert_eq!(names("lib/modules"), ["9.9.9-mine-xen0"]);
    assert_eq!(
        names("boot"),
        [
            "System.map-9.9.9-mine-xen0",
            "config-9.9.9-mine-xen0",
            "vmlinux-syms-9.9.9-mine-xen0",
            "vmlinuz-9.9.8-xenU",
            "vmlinuz-9.9.9-mine-xen0",
            "xen.gz"
        ]
    );
    let dep = root.join("lib/modules/9.9.9-mine-xen0/modules.dep");
    assert!(dep.is_file());
}

#[test]
fn the_builders_environment_does_not_get_through_unless_it_is_given() {
    let fake = Fake::new("env");
    assert!(text(&fake.build().unwrap().image).ends_with("9.9.9-xen0 build build \n"));
    let mut options = KernelOptions::default();
    options.env.push(("USER".to_owned(), "somebody".to_owned()));
    let elsewhere = fake
        .build_in(&fake.root.join("elsewhere"), &options)
        .unwrap();
    assert!(text(&elsewhere.image).ends_with("build build somebody\n"));
}

#[test]
fn a_changed_series_rebuilds_only_what_it_changes() {
    let mut fake = Fake::new("partial");
    fake.build().unwrap();
    let before = fake.object_times();
    let patch = "--- a/two.c\n+++ b/two.c\n@@ -1 +1 @@\n-two\n+zwei\n".to_owned();
    fake.patches.push(("0001-two.patch", patch));
    let image = text(&fake.build().unwrap().image);
    assert!(image.starts_with("one\nzwei\nthree\n"));
    let after = fake.object_times();
    assert_eq!(before["one.o"], after["one.o"]);
    assert_eq!(before["three.o"], after["three.o"]);
    assert_ne!(before["two.o"], after["two.o"]);
}

#[test]
fn a_patch_that_does_not_apply_is_named_and_the_next_run_recovers() {
    let mut fake = Fake::new("patch");
    let patch = |from: &str| format!("--- a/two.c\n+++ b/two.c\n@@ -1 +1 @@\n-{from}\n+zwei\n");
    fake.patches.push(("0001-two.patch", patch("drei")));
    let e = fake.build().unwrap_err();
    assert_eq!(e.what, "0001-two.patch does not apply to linux 9.9.9");
    assert!(e.cause.unwrap().contains("two.c: hunk 1"));
    fake.patches[0].1 = patch("two");
    assert!(text(&fake.build().unwrap().image).contains("zwei"));
}

#[test]
fn a_setting_that_did_not_survive_is_named_with_its_line_and_why() {
    let mut fake = Fake::new("setting");
    fake.fragment += "CONFIG_NONSENSE=y\n";
    let e = fake.build().unwrap_err();
    let cause = e.cause.unwrap();
    assert!(
        cause.contains("xen0.config:3: CONFIG_NONSENSE=y became n"),
        "{cause}"
    );
    assert!(cause.contains("no such symbol"), "{cause}");

    // A source that is not the pinned one may lack a symbol of ours, but not one the user asks for.
    let shop = Shop::open(&fake.work()).unwrap();
    let configure = |requests: &Requests| {
        shop.configure(
            Flavour::Xen0,
            requests,
            Misfit::LeaveOut,
            &KernelOptions::default(),
        )
    };
    let mut requests = fake.recipe().requests;
    assert!(configure(&requests).is_ok());
    requests
        .add("mine", "CONFIG_MY_WISH=m\n", Asker::User)
        .unwrap();
    let cause = configure(&requests).unwrap_err().cause.unwrap();
    assert!(cause.starts_with("mine:1: CONFIG_MY_WISH=m"), "{cause}");
}

#[test]
fn a_failed_compile_shows_its_words_and_the_patch_and_the_next_run_recovers() {
    let mut fake = Fake::new("compile");
    fake.build().unwrap();
    let patch = "--- a/two.c\n+++ b/two.c\n@@ -1 +1 @@\n-two\n+zwei\n".to_owned();
    fake.patches.push(("0001-two.patch", patch));
    fake.set_cc("echo \"$1:1:2: error: what is zwei\" >&2; echo half > $2; exit 1\n");
    let e = fake.build().unwrap_err();
    assert!(e.what.starts_with("kernel xen0: cannot make "), "{e}");
    assert!(e.what.ends_with("two.o"), "{e}");
    assert!(e.cause.unwrap().contains("error: what is zwei"));
    let remedy = e.remedy.unwrap();
    assert!(
        remedy.contains("two.c is changed by 0001-two.patch"),
        "{remedy}"
    );
    assert!(remedy.contains("xen0.log"), "{remedy}");
    assert!(text(&fake.work().join("xen0.log")).contains("what is zwei"));
    fake.set_cc(CC);
    assert!(text(&fake.build().unwrap().image).contains("zwei"));
}

#[test]
fn a_full_disk_is_called_so_and_the_next_run_recovers() {
    let fake = Fake::new("full");
    fake.build().unwrap();
    fs::remove_file(fake.work().join("objects-xen0/two.o")).unwrap();
    fake.set_cc("cp $1 /dev/full\n");
    let e = fake.build().unwrap_err();
    assert_eq!(e.what, "kernel xen0: the disk is full");
    assert!(e.cause.unwrap().contains("No space left on device"));
    assert!(e.remedy.unwrap().contains("objects-xen0"));
    fake.set_cc(CC);
    assert!(text(&fake.build().unwrap().image).contains("two"));
}

#[test]
fn an_interrupted_make_is_ended_with_its_children_and_leaves_nothing_half_made() {
    let fake = Fake::new("stop");
    fake.build().unwrap();
    let (tree, objects) = (fake.work().join("tree"), fake.work().join("objects-xen0"));
    fs::remove_file(objects.join("two.o")).unwrap();
    // A compiler that writes half an object, tells us its number, and takes its time to go on.
    let (pid, survived) = (fake.root.join("pid"), fake.root.join("survived"));
    let script = format!(
        "echo half > $2; echo $$ > {0}.new; mv {0}.new {0}; sleep 60; touch {1}\n",
        pid.display(),
        survived.display()
    );
    fake.set_cc(&script);
    let lock = fs::File::create(fake.root.join("lock")).unwrap();
    let make = Make {
        name: "kernel xen0".to_owned(),
        tree: &tree,
        objects: &objects,
        log: &fake.root.join("log"),
        mark: fake.root.join("making"),
        lock: &lock,
        env: &[],
        prefix: &[],
        ccache: false,
    };
    let e = make.run(&["bzImage"], None, &|| pid.exists()).unwrap_err();
    assert_eq!(e.exit, Exit::Interrupted);
    assert!(
        !fake.root.join("making").exists(),
        "make has ended by itself"
    );
    // Its death may take a moment to be seen; if it lives, it will leave the other file in the end.
    let compiler = format!("/proc/{}/stat", text(&pid).trim());
    while fs::read_to_string(&compiler).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::yield_now();
    }
    assert!(!survived.exists(), "the compiler went on");
    assert!(
        !objects.join("two.o").exists(),
        "make removes what it had begun"
    );
    fake.set_cc(CC);
    assert!(text(&fake.build().unwrap().image).starts_with("one\ntwo\nthree\n"));
}

#[test]
fn what_a_killed_run_had_begun_is_made_again() {
    let fake = Fake::new("killed");
    fake.build().unwrap();
    // SIGKILL or a power cut: the mark stays, and so does half an object that is newer than its source.
    fs::write(fake.work().join("xen0.making"), "").unwrap();
    fs::write(fake.work().join("objects-xen0/two.o"), "tw").unwrap();
    assert!(text(&fake.build().unwrap().image).starts_with("one\ntwo\nthree\n"));
    assert!(!fake.work().join("xen0.making").exists());
}

#[test]
fn whoever_builds_holds_the_lock_and_so_does_make() {
    let fake = Fake::new("lock");
    fake.build().unwrap();
    let stdin = text(&fake.work().join("objects-xen0/stdin"));
    let lock = fs::canonicalize(fake.work().join("lock")).unwrap();
    assert_eq!(Path::new(stdin.trim()), lock);
    let _shop = Shop::open(&fake.work()).unwrap();
    let other = fs::File::open(lock).unwrap();
    assert!(other.try_lock().is_err());
}

#[test]
fn the_shop_unused_for_longest_goes_unless_somebody_works_in_it() {
    let fake = Fake::new("prune");
    let open = |name: &str| Shop::open(&fake.root.join("shops").join(name)).unwrap();
    let is_there = |name: &str| fake.root.join("shops").join(name).exists();
    drop(open("first"));
    let second = open("second");
    let third = open("third");
    let fourth = open("fourth");
    drop(third);
    fourth.prune();
    assert!(!is_there("first"));
    assert!(is_there("second"), "it is in use");
    assert!(is_there("third") && is_there("fourth"));
    drop(second);
}

#[test]
fn a_folder_that_make_cannot_bear_is_refused() {
    let fake = Fake::new("folder name");
    let e = fake.build().unwrap_err();
    assert!(e.cause.unwrap().contains("space"));
}

#[test]
fn what_is_no_linux_source_is_refused() {
    let fake = Fake::new("nothing");
    fs::remove_file(fake.root.join("linux-9.9.9/Makefile")).unwrap();
    let e = fake.build().unwrap_err();
    assert!(e.what.contains("is no Linux source"), "{e}");
}

#[test]
fn the_menus_changes_are_read_from_a_copy() {
    let fake = Fake::new("menu");
    fake.build().unwrap();
    let shop = Shop::open(&fake.work()).unwrap();
    let before = text(&fake.work().join("objects-xen0/.config"));
    let edited = shop
        .edit(Flavour::Xen0, "menuconfig", &KernelOptions::default())
        .unwrap();
    assert_eq!(edited.get("MENU"), "y");
    assert_eq!(text(&fake.work().join("objects-xen0/.config")), before);
}

#[test]
fn the_key_changes_with_source_series_settings_and_compiler_and_with_nothing_else() {
    let mut fake = Fake::new("key");
    let patch = "--- a/two.c\n+++ b/two.c\n@@ -1 +1 @@\n-two\n+zwei\n".to_owned();
    fake.patches.push(("0001-two.patch", patch));
    let key = |fake: &Fake| fake.recipe().key("source");
    let first = key(&fake);
    assert_ne!(fake.recipe().key("another"), first);
    let newer = Recipe {
        tools: "gcc 13".to_owned(),
        ..fake.recipe()
    };
    assert_ne!(newer.key("source"), first);
    let guest = Recipe {
        flavour: Flavour::XenU,
        ..fake.recipe()
    };
    assert_ne!(guest.key("source"), first);
    fake.fragment += "# a remark\n";
    assert_eq!(key(&fake), first, "a remark is no setting");
    fake.fragment += "CONFIG_EXT4_FS=m\n";
    assert_ne!(key(&fake), first);
    fake.fragment += "CONFIG_EXT4_FS=y\n";
    assert_eq!(key(&fake), first);
    fake.patches[0].1 += "--- a/one.c\n+++ b/one.c\n@@ -1 +1 @@\n-one\n+eins\n";
    assert_ne!(key(&fake), first);
}

#[test]
fn the_pin_the_series_and_the_fragments_in_the_tree_are_well_formed() {
    for flavour in Flavour::ALL {
        let recipe = Recipe::read(flavour, &KernelOptions::default()).unwrap();
        let text = recipe.requests.text();
        let suffix = format!("CONFIG_LOCALVERSION=\"-{flavour}\"\n");
        assert!(text.contains(&suffix), "{flavour}");
        assert!(recipe.pin.version.starts_with("6.1."));
    }
}

#[test]
fn a_folder_of_fragments_has_some_for_both_kernels_and_some_for_one() {
    let fake = Fake::new("folder");
    let dir = fake.root.join("mine");
    fs::create_dir_all(dir.join("xen0")).unwrap();
    for name in ["b.config", "a.config", "xen0/c.config", "notes.txt"] {
        fs::write(dir.join(name), "").unwrap();
    }
    let single = fake.root.join("single");
    let of = |flavour| fragments(flavour, &[dir.clone(), single.clone()]).unwrap();
    let (a, b) = (dir.join("a.config"), dir.join("b.config"));
    let c = dir.join("xen0/c.config");
    assert_eq!(of(Flavour::Xen0), [a.clone(), b.clone(), c, single.clone()]);
    assert_eq!(of(Flavour::XenU), [a, b, single.clone()]);
}
