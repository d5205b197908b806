//! What can be imported, what is predefined, and what is refused with a reason.

use super::builtins::IP_HELPERS;
use super::fault::{Res, fatal, raise};
use super::interp::Interp;
use super::value::Value;
use crate::suggest;

/// Python's own functions.
pub(super) const BUILTINS: &[&str] = &[
    "__print__",
    "abs",
    "all",
    "any",
    "basestring",
    "bin",
    "bool",
    "chr",
    "dict",
    "divmod",
    "enumerate",
    "exit",
    "filter",
    "float",
    "hex",
    "int",
    "isinstance",
    "len",
    "list",
    "long",
    "map",
    "max",
    "min",
    "oct",
    "ord",
    "pow",
    "print",
    "quit",
    "range",
    "repr",
    "reversed",
    "round",
    "sorted",
    "str",
    "sum",
    "tuple",
    "type",
    "unicode",
    "xrange",
    "zip",
];

const OS: &[&str] = &["environ", "getenv", "path", "sep"];
const OS_PATH: &[&str] = &[
    "basename", "dirname", "isabs", "join", "normpath", "sep", "split", "splitext",
];
const OS_PATH_FUNCTIONS: &[&str] = &[
    "os.path.basename",
    "os.path.dirname",
    "os.path.isabs",
    "os.path.join",
    "os.path.normpath",
    "os.path.split",
    "os.path.splitext",
];
const STRING: &[&str] = &[
    "atof",
    "atoi",
    "capitalize",
    "count",
    "digits",
    "find",
    "hexdigits",
    "join",
    "ljust",
    "letters",
    "lower",
    "lowercase",
    "lstrip",
    "replace",
    "rfind",
    "rjust",
    "rstrip",
    "split",
    "strip",
    "upper",
    "uppercase",
    "zfill",
];
const STRING_FUNCTIONS: &[&str] = &[
    "string.atof",
    "string.atoi",
    "string.capitalize",
    "string.count",
    "string.find",
    "string.join",
    "string.ljust",
    "string.lower",
    "string.lstrip",
    "string.replace",
    "string.rfind",
    "string.rjust",
    "string.rstrip",
    "string.split",
    "string.strip",
    "string.upper",
    "string.zfill",
];
const SYS: &[&str] = &["argv", "exit", "maxint", "platform", "stderr", "stdout"];
const STREAM: &[&str] = &["flush", "write"];
const MODULES: &[&str] = &["os", "os.path", "string", "sys"];

/// A function that needs no module.
pub(super) fn builtin(name: &str) -> Option<Value> {
    BUILTINS
        .iter()
        .chain(IP_HELPERS)
        .find(|builtin| **builtin == name)
        .map(|builtin| Value::Builtin(builtin))
}

/// The names a module has.
pub(super) fn names(module: &str) -> &'static [&'static str] {
    match module {
        "os" => OS,
        "os.path" => OS_PATH,
        "string" => STRING,
        "sys" => SYS,
        "sys.stderr" | "sys.stdout" => STREAM,
        "xm_vars" => &["check", "var"],
        "xen.util.ip" => IP_HELPERS,
        _ => &[],
    }
}

pub(super) fn import(module: &str) -> Res<Value> {
    if let Some(known) = MODULES.iter().find(|known| **known == module) {
        return Ok(Value::Module(known));
    }
    // 2.0's own module of address helpers.
    if module == "xen.util.ip" {
        return Ok(Value::Module("xen.util.ip"));
    }
    let reason = match module.split('.').next().unwrap_or("") {
        "subprocess" | "commands" | "popen2" | "multiprocessing" | "threading" => Some(NO_PROCESS),
        "socket" | "urllib" | "urllib2" | "httplib" | "http" | "requests" | "ssl" => {
            Some(NO_NETWORK)
        }
        "shutil" | "glob" | "io" | "tempfile" | "pathlib" | "pickle" | "json" => Some(NO_FILE),
        "random" => Some("leave mac= or uuid= out, and one is drawn"),
        "time" | "datetime" => Some("a configuration says the same at any time"),
        "re" => Some("use the methods of texts: split, find, replace, startswith"),
        "math" => Some("use +, -, *, //, % and **"),
        "xen" => Some("xm_vars and the address helpers are predefined"),
        _ => None,
    };
    let fault = fatal(format_args!(
        "module {module} is not offered in configuration files"
    ));
    Err(
        match (reason, suggest::nearest(module, MODULES.iter().copied())) {
            (Some(reason), _) => fault.hint(reason),
            (None, Some(near)) => fault.hint(format_args!("did you mean '{near}'?")),
            (None, None) => fault.hint(format_args!("there are {}", MODULES.join(", "))),
        },
    )
}

const NO_FILE: &str = "configuration files have no access to files";
const NO_PROCESS: &str = "configuration files cannot run programs";
const NO_NETWORK: &str = "configuration files have no access to the network";

/// Why a name that Python has is not offered.
pub(super) fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "open" | "file" | "execfile" | "os.listdir" | "os.remove" | "os.unlink" | "os.mkdir"
        | "os.open" | "os.getcwd" | "os.stat" | "os.readlink" | "os.path.exists"
        | "os.path.isfile" | "os.path.isdir" | "os.path.islink" | "os.path.getsize"
        | "os.path.realpath" | "os.path.abspath" | "os.path.expanduser" | "os.walk"
        | "os.access" | "os.chdir" | "os.rename" => NO_FILE,
        "os.system" | "os.popen" | "os.fork" | "os.spawnl" | "os.spawnv" | "os.execv"
        | "os.execl" | "os.kill" | "os.getpid" | "os.uname" => NO_PROCESS,
        "eval" | "exec" | "compile" | "__import__" | "globals" | "locals" | "vars" | "getattr"
        | "setattr" => "write out what is meant",
        "input" | "raw_input" => "give NAME=VALUE on the command line",
        "set" | "frozenset" => "write a list",
        _ => return None,
    })
}

impl Interp<'_> {
    /// An attribute of a module, if it has it.
    pub fn module_attribute(&mut self, module: &'static str, name: &str) -> Res<Option<Value>> {
        let full = format!("{module}.{name}");
        let function = |all: &[&'static str]| {
            all.iter()
                .find(|known| **known == full)
                .map(|known| Value::Builtin(known))
        };
        let found = match full.as_str() {
            "os.path" => Some(Value::Module("os.path")),
            "os.environ" => Some(self.heap.dict(Vec::new())?),
            "os.getenv" => Some(Value::Builtin("os.getenv")),
            "os.sep" | "os.path.sep" => Some(Value::Str("/".into())),
            "sys.argv" => {
                let file = Value::Str(self.file.as_str().into());
                Some(self.heap.list(vec![file])?)
            }
            "sys.exit" => Some(Value::Builtin("sys.exit")),
            "sys.maxint" => Some(Value::Int(i64::MAX)),
            "sys.platform" => Some(Value::Str("linux2".into())),
            "sys.stderr" => Some(Value::Module("sys.stderr")),
            "sys.stdout" => Some(Value::Module("sys.stdout")),
            "sys.stderr.write" => Some(Value::Builtin("sys.stderr.write")),
            "sys.stdout.write" => Some(Value::Builtin("sys.stdout.write")),
            "sys.stderr.flush" => Some(Value::Builtin("sys.stderr.flush")),
            "sys.stdout.flush" => Some(Value::Builtin("sys.stdout.flush")),
            "string.digits" => Some(Value::Str("0123456789".into())),
            "string.hexdigits" => Some(Value::Str("0123456789abcdefABCDEF".into())),
            "string.letters" => Some(Value::Str(
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".into(),
            )),
            "string.lowercase" => Some(Value::Str("abcdefghijklmnopqrstuvwxyz".into())),
            "string.uppercase" => Some(Value::Str("ABCDEFGHIJKLMNOPQRSTUVWXYZ".into())),
            "xm_vars.var" => Some(Value::Builtin("xm_vars.var")),
            "xm_vars.check" => Some(Value::Builtin("xm_vars.check")),
            _ if module == "xen.util.ip" => builtin(name).filter(|_| IP_HELPERS.contains(&name)),
            _ => function(OS_PATH_FUNCTIONS).or_else(|| function(STRING_FUNCTIONS)),
        };
        Ok(found)
    }

    /// Sets the names every script starts with.
    pub fn predefine(&mut self, variables: &[(String, String)]) -> Res<()> {
        self.set_global("sys", Value::Module("sys"))?;
        self.set_global("os", Value::Module("os"))?;
        self.set_global("xm_vars", Value::Module("xm_vars"))?;
        let file = self.file.clone();
        let file = self.heap.string(&file)?;
        self.set_global("xm_file", file)?;
        self.set_global("xm_help", Value::Int(i64::from(self.help)))?;
        self.set_global("__name__", Value::Str("__main__".into()))?;
        for (name, value) in variables {
            if builtin(name).is_some() || !is_identifier(name) {
                return Err(raise(
                    "NameError",
                    format_args!("{name}= cannot be a variable of the script"),
                ));
            }
            let value = self.heap.string(value)?;
            self.set_global(name, value)?;
        }
        Ok(())
    }
}

fn is_identifier(name: &str) -> bool {
    let start = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    start && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}
