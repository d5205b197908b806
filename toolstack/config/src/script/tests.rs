use super::*;
use std::sync::Mutex;

/// A machine with one network device, and a record of what was printed.
#[derive(Default)]
struct Fake(Mutex<Vec<String>>);

impl Host for Fake {
    fn ipv4(&self, device: &str) -> Option<Ipv4Config> {
        let [address, mask, gateway] =
            [[10, 0, 0, 5], [255, 255, 255, 0], [10, 0, 0, 1]].map(Ipv4Addr::from);
        (device == "xen-br0").then_some(Ipv4Config {
            address,
            mask,
            gateway: Some(gateway),
        })
    }

    fn print(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

fn run_all(run: &Run<'_>, host: &Fake) -> Result<Vec<Binding>, ScriptError> {
    super::run(run, host).map(|outcome| outcome.bindings)
}

fn run_text(text: &str) -> Result<Vec<Binding>, ScriptError> {
    run_all(
        &Run {
            file: "f",
            text,
            ..Run::default()
        },
        &Fake::default(),
    )
}

#[track_caller]
fn x_of(text: &str) -> Data {
    let bindings = run_text(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    bindings
        .into_iter()
        .find(|binding| binding.name == "x")
        .map_or(Data::None, |binding| binding.value)
}

#[track_caller]
fn fault(text: &str) -> ScriptError {
    run_text(text).expect_err(text)
}

fn strings(all: &[&str]) -> Data {
    Data::List(all.iter().map(|text| Data::Str((*text).into())).collect())
}

#[test]
fn expressions_have_pythons_values() {
    for (text, value) in [
        ("1 + 2 * 3 - 4", 3),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3),
        ("-7 / 2", -4),
        ("-7 % 3", 2),
        ("7 % -3", -2),
        ("7 // 2", 3),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("1 << 4 | 1", 17),
        ("~5 & 0xff ^ 1", 251),
        ("0700", 448),
        ("0o17 + 0b11 + 0x1F + 10L + 1_000", 15 + 3 + 31 + 10 + 1000),
        ("1 if 2 > 1 else 0", 1),
        ("0 or 5", 5),
        ("0 and 5", 0),
        ("not 0 and 3", 3),
        ("1 < 2 < 3 and 3 <> 4 and 3 != 4", 1),
        (
            "'a' in 'cat' and 1 in [1] and 2 not in (1,) and 'k' in {'k': 1}",
            1,
        ),
        ("None is None and [] is not None and not None", 1),
        ("len('äb') + len([1, 2]) + len({'a': 1})", 5),
        (
            "int('0x1f', 16) + int(' 12 ') + int('-3') + int(2.9)",
            31 + 12 - 3 + 2,
        ),
        ("[1, 2, 3][-1]", 3),
        ("{'a': 1, 'b': {'c': 7}}['b']['c']", 7),
        (
            "sum(range(5)) + sum([i * j for i in range(3) for j in range(3) if i != j])",
            10 + 4,
        ),
        ("max(1, 5, 3) + min([4, 2]) + abs(-3)", 10),
        ("(lambda a, b=2: a * b)(3)", 6),
        (
            "'abc'.find('c') + 'abc'.find('x') + 'abcabc'.rfind('b')",
            2 - 1 + 4,
        ),
        ("inet_aton('10.0.0.1') - (10 << 24)", 1),
        ("ord('a') + divmod(7, 2)[0]", 100),
        ("sorted([3, 1, 2], reverse=True)[0]", 3),
        (
            "[k for k, v in {'a': 1}.items()].index('a') + [1, 1].count(1)",
            2,
        ),
        ("1;", 1),
        ("'abc'.find('', 5) + 'abc'.find('', 3)", 2),
        ("1 # comment", 1),
        ("\\\n  1", 1),
        ("(1 +\n\n # comment\n 1)", 2),
    ] {
        let value = match x_of(&format!("x = {text}")) {
            Data::Int(found) => found == value,
            Data::Bool(found) => i64::from(found) == value,
            _ => false,
        };
        assert!(value, "{text}: {:?}", x_of(&format!("x = {text}")));
    }
}

#[test]
fn texts_are_pythons() {
    for (text, value) in [
        (r"'a\n\x41\101\'\q'", "a\nAA'\\q"),
        (r"r'a\n' u'b' b'c'", "a\\nbc"),
        ("'''a\n'b' ''' 'c'", "a\n'b' c"),
        ("'a' \"b\" 'c'", "abc"),
        ("'a' * 3 + 'b'", "aaab"),
        (
            "'hello'[1:3] + 'hello'[-1] + 'hello'[::-1] + 'hello'[:2] + 'hello'[3:]",
            "eloollehhelo",
        ),
        (
            "'%s-%d-%03d-%x-%5.1f|%-4s|%4s|%%' % ('a', 7, 5, 255, 3.14159, 'l', 'r')",
            "a-7-005-ff-  3.1|l   |   r|%",
        ),
        ("'%(a)s/%(b)02x' % {'a': 1, 'b': 10}", "1/0a"),
        (
            "'%s' % [1, 'a', None, True, 1.5, (2,), {'k': 1}]",
            "[1, 'a', None, True, 1.5, (2,), {'k': 1}]",
        ),
        (
            "'%r %i %c %o %X %e %g %+d' % ('a', 3.9, 'c', 8, 171, 12345.678, 0.0001, 4)",
            "'a' 3 c 10 AB 1.234568e+04 0.0001 +4",
        ),
        (
            "'{} {1} {name:>4}|{0:02d}|{2[0]}|{{}}'.format(7, 'b', [9], name='n')",
            "7 b    n|07|9|{}",
        ),
        (
            "f'{1 + 1}:{\"a\"!r}:{255:04x}:{[1,2][0]}{{'",
            "2:'a':00ff:1{",
        ),
        (
            "'{:,} {:<5}|{:^5}|{:.2f} {:>+5d} {:%}'.format(1234567, 'a', 'b', 2.0/3, 4, 0.5)",
            "1,234,567 a    |  b  |0.67    +4 50.000000%",
        ),
        ("','.join(['a', 'b'])", "a,b"),
        ("' a b '.strip().replace(' ', '-').upper()", "A-B"),
        (
            "'7'.zfill(3) + '-7'.zfill(4) + 'a'.ljust(3) + '|' + 'a'.rjust(3) + 'a'.center(4, '*')",
            "007-007a  |  a*a**",
        ),
        (
            "'Ab'.lower() + 'ab cd'.title() + 'aB'.capitalize()",
            "abAb CdAb",
        ),
        (
            "str('a,b;c'.split(',')) + str('  a  b '.split()) + str('a.b.c'.rsplit('.', 1)) + str('a:b'.partition(':'))",
            "['a', 'b;c']['a', 'b']['a.b', 'c']('a', ':', 'b')",
        ),
        (
            "str(1.0) + str(2 / 4.0) + repr('it\\'s') + hex(255) + oct(8) + str(True)",
            "1.00.5\"it's\"0xff010True",
        ),
        (
            "os.path.basename('/a/b.c') + os.path.dirname('/a/b') + os.path.join('/a', 'b', 'c') + os.path.splitext('/x.y/a.tar.gz')[1]",
            "b.c/a/a/b/c.gz",
        ),
        (
            "os.path.join('a', '/b') + os.path.normpath('/a/../b//./c') + str(os.path.split('/a'))",
            "/b/b/c('/', 'a')",
        ),
        (
            "get_current_ipaddr() + get_current_ipmask() + get_current_ipgw('xen-br0')",
            "10.0.0.5255.255.255.010.0.0.1",
        ),
        (
            "add_offset_to_ip('10.0.0.250', 10) + inet_ntoa(0x0a000001) + str(check_subnet('10.0.0.9', '10.0.0.0', '255.255.255.0'))",
            "10.0.1.410.0.0.1True",
        ),
        (
            "str(get_current_ipaddr('eth7')) + str(os.environ.get('HOME', 'none')) + str(os.getenv('PATH'))",
            "NonenoneNone",
        ),
        (
            "string.join(['a', 'b'], '-') + string.upper('c') + str(string.atoi('4')) + string.zfill('1', 2)",
            "a-bC401",
        ),
        (
            "str([1e16, 1e15, 1e-5, 0.0001, -0.0])",
            "[1e+16, 1000000000000000.0, 1e-05, 0.0001, -0.0]",
        ),
        ("xm_file + str(xm_help)", "f0"),
    ] {
        assert_eq!(
            x_of(&format!("import string\nx = {text}")),
            Data::Str(value.into()),
            "{text}"
        );
    }
}

#[test]
fn statements_run_as_in_python() {
    for (text, value) in [
        ("x = y = 1\nx += 2; x *= 5", 15),
        ("a, (b, c) = 1, [2, 3]\nx = a + b * c", 7),
        (
            "x = 0\nfor i in range(10):\n    if i == 2: continue\n    if i == 5: break\n    x += i\nelse:\n    x = 99",
            8,
        ),
        ("x = 0\nwhile x < 5:\n    x += 2\nelse:\n    x += 10", 16),
        (
            "def f(a, b=2, c=3):\n    '''doc'''\n    return a * 100 + b * 10 + c\nx = f(1, c=4)",
            124,
        ),
        (
            "def fact(n):\n\treturn 1 if n < 2 else n * fact(n - 1)\nx = fact(10)",
            3_628_800,
        ),
        (
            "def outer(n):\n    def inner(m):\n        return n + m\n    return inner\nx = outer(3)(4)",
            7,
        ),
        ("x = 1\ndef f():\n    global x\n    x = 5\nf()", 5),
        ("try:\n    x = int('a')\nexcept ValueError:\n    x = 3", 3),
        (
            "try:\n    raise KeyError, 'k'\nexcept (ValueError, LookupError), e:\n    x = len(str(e))\nelse:\n    x = 0\nfinally:\n    x += 10",
            11,
        ),
        (
            "try:\n    try:\n        raise ValueError('v')\n    except ValueError as e:\n        raise\nexcept Exception as e:\n    x = len(e.args)",
            1,
        ),
        ("if 0:\n    x = 1\nelif 0: x = 2\nelse:\n    x = 3", 3),
        ("d = {}\nd['a'] = 1\nd['a'] += 4\ndel d['a']\nx = 5", 5),
        (
            "d = {'a': 1, 'b': 2}\ndel d['a']\nx = len(d) + d.get('z', 7)",
            8,
        ),
        (
            "l = [3, 1]\nl.append(2)\nl.sort()\nl.insert(0, 9)\nl.extend([1])\nl.remove(1)\nl.reverse()\nx = l[0] * 1000 + l.pop() + len(l)",
            1012,
        ),
        ("l = [1]\nm = l\nm += [2]\nx = len(l)", 2),
        (
            "x = 0\nfor n, c in enumerate('ab'):\n  for a, b in zip([1, 2], [3, 4]):\n    x += n * a * b",
            11,
        ),
        (
            "from os.path import basename as b\nfrom string import *\nimport os, sys as s\nx = len(b('/a/bc')) + len(split('a b'))",
            4,
        ),
        ("class_ = 1\nx = class_", 1),
        (
            "x = map(lambda v: v * 2, filter(lambda v: v > 1, [1, 2, 3]))[1]",
            6,
        ),
        ("x = {k: v for k, v in zip('ab', [1, 2])}['b']", 2),
        ("x = 1\r\nif x:\r\n  x = 2\r\n", 2),
        ("\u{feff}x = 1", 1),
        (
            "assert 1, 'no'\npass\nx = isinstance('a', str) + isinstance(1, (str, int))",
            2,
        ),
    ] {
        assert_eq!(x_of(text), Data::Int(value), "{text}");
    }
    assert_eq!(
        x_of("x = ['a'] + [c + '1' for c in 'bc']"),
        strings(&["a", "b1", "c1"])
    );
    assert_eq!(
        x_of("x = (1, (2.5, None))"),
        Data::List(vec![
            Data::Int(1),
            Data::List(vec![Data::Float(2.5), Data::None])
        ])
    );
    assert_eq!(x_of("x = len"), Data::Other("function"));
}

#[test]
fn everything_printed_goes_to_the_host() {
    let host = Fake::default();
    let text = "print 'a', 1\nprint('b', 2)\nprint\nprint >>sys.stderr, 'c'\nprint('d', file=sys.stderr, sep='')\nsys.stderr.write('e\\n')\nprint ('%s') % 'f'";
    run_all(
        &Run {
            file: "f",
            text,
            ..Run::default()
        },
        &host,
    )
    .unwrap();
    assert_eq!(
        *host.0.lock().unwrap(),
        ["a 1", "b 2", "", "c", "d", "e", "f"]
    );
}

#[test]
fn errors_name_the_line_and_what_to_do() {
    for (text, line, message, hint) in [
        (
            "x = 1\ny = naem",
            2,
            "NameError: 'naem' is not set",
            "text goes in quotes",
        ),
        (
            "name = 'a'\nx = nmae",
            2,
            "NameError: 'nmae' is not set",
            "did you mean 'name'?",
        ),
        (
            "x = true",
            1,
            "NameError: 'true' is not set",
            "write 1, or True",
        ),
        (
            "x = [\n 'a'\n 1]",
            3,
            "',' or ']' was expected, not 1",
            "comma",
        ),
        ("x = ['a' ['b']", 1, "'[' is never closed", ""),
        ("x = [\n'a',\n", 1, "'[' is never closed", ""),
        (
            "x = 'a\n",
            1,
            "this string is not closed on its line",
            "three quotes",
        ),
        (
            "x = '''a\n\n",
            1,
            "this string is never closed",
            "it ends with the quotes",
        ),
        ("x = 1)", 1, "')' closes nothing", ""),
        ("x = (1]", 1, "']' does not close '('", ""),
        ("x =", 1, "a value was expected after '='", ""),
        ("x = `1`", 1, "'`' does not belong here", "repr"),
        (
            "x = “a”",
            1,
            "'“' does not belong here",
            "typographic quote",
        ),
        ("x = 256M", 1, "\"256M\" is no number", "without a unit"),
        ("x = 1 2", 1, "the end of the line was expected, not 2", ""),
        (
            "name a",
            1,
            "the end of the line was expected, not 'a'",
            "NAME = VALUE",
        ),
        ("name: 'a'", 1, "':' does not belong here", "NAME = VALUE"),
        ("1 = x", 1, "only a name can be set", "=="),
        ("if = 1", 1, "a value was expected, not '='", ""),
        (" x = 1", 1, "this line is indented", "first column"),
        ("if 1:\nx = 1", 2, "an indented block was expected", "pass"),
        ("if 1:\n    x = 1\n  y = 1", 3, "indented like no block", ""),
        ("class A: pass", 1, "'class' is not offered", ""),
        (
            "import socket",
            1,
            "module socket is not offered",
            "no access to the network",
        ),
        (
            "import sting",
            1,
            "module sting is not offered",
            "did you mean 'string'?",
        ),
        (
            "from subprocess import call",
            1,
            "module subprocess is not offered",
            "cannot run programs",
        ),
        (
            "x = open('/etc/passwd')",
            1,
            "open is not offered",
            "no access to files",
        ),
        (
            "x = os.system('ls')",
            1,
            "os.system is not offered",
            "cannot run programs",
        ),
        (
            "x = os.path.exists('/a')",
            1,
            "os.path.exists is not offered",
            "no access to files",
        ),
        (
            "x = os.path.basname('/a')",
            1,
            "AttributeError: os.path has no 'basname'",
            "did you mean 'basename'?",
        ),
        (
            "x = 'a'.uper()",
            1,
            "AttributeError: str has no 'uper'",
            "did you mean 'upper'?",
        ),
        (
            "x = 'a' + 1",
            1,
            "TypeError: '+' cannot be applied to str and int",
            "str(...)",
        ),
        ("x = 1 / 0", 1, "ZeroDivisionError: division by zero", ""),
        ("x = int('abc')", 1, "ValueError: \"abc\" is no number", ""),
        (
            "x = int(None)",
            1,
            "TypeError: int() wants a number or a text, not NoneType",
            "is the variable set?",
        ),
        (
            "x = [1][3]",
            1,
            "IndexError: there is no item 3: list has 1",
            "",
        ),
        ("x = {}['k']", 1, "KeyError: 'k'", ""),
        (
            "x = '%d' % 'a'",
            1,
            "TypeError: %d wants a number, not str",
            "%s",
        ),
        (
            "x = '%s %s' % 'a'",
            1,
            "TypeError: there are fewer values than % places",
            "",
        ),
        (
            "x = '100%' % 1",
            1,
            "ValueError: the text ends after '%'",
            "%%",
        ),
        (
            "a, b = 1, 2, 3",
            1,
            "ValueError: 2 values were expected to unpack, not 3",
            "",
        ),
        (
            "def f(a):\n    return a.b\n\nx = f(1)",
            2,
            "AttributeError: int has no 'b'",
            "",
        ),
        ("def f(a): pass\nf()", 2, "TypeError: f() wants 'a'", ""),
        (
            "def f(a): pass\nf(1, 2)",
            2,
            "TypeError: f() takes 1 arguments, and 2 are given",
            "",
        ),
        (
            "raise ValueError, 'bad vmid'",
            1,
            "ValueError: bad vmid",
            "",
        ),
        ("sys.exit('stop')", 1, "SystemExit: stop", ""),
        (
            "x = 9223372036854775807 + 1",
            1,
            "OverflowError: the result is too large",
            "",
        ),
        ("x = 2 ** 100", 1, "OverflowError", ""),
        (
            "while 1: pass",
            1,
            "the script takes more than 2000000 steps",
            "loop",
        ),
        (
            "def f(): return f()\nf()",
            1,
            "calls or values are nested too deeply",
            "call itself",
        ),
        (
            "x = 'a' * 100000000",
            1,
            "a string of more than 1048576 bytes",
            "",
        ),
        ("x = [1] * 100000000", 1, "more than 32 MiB of memory", ""),
        ("x = range(1000000000)", 1, "more than 32 MiB of memory", ""),
        (
            "try:\n    while 1: pass\nexcept:\n    x = 1",
            2,
            "the script takes more than",
            "",
        ),
        ("x = []\nwhile 1:\n    x = [x, x]", 3, "memory", ""),
        ("return 1", 1, "'return' outside a function", ""),
        ("break", 1, "'break' or 'continue' outside a loop", ""),
        (
            "x = {1, 2}",
            1,
            "':' was expected, not ','",
            "sets are not offered",
        ),
        ("x = f'{1'", 1, "'{' stands alone in an f-string", "{{"),
        (
            "x = '%s' % 'a' % 'b'",
            1,
            "TypeError: there are more values than % places",
            "",
        ),
        (
            "x = 5\nx.y = 3",
            2,
            "slices and attributes cannot be set",
            "",
        ),
    ] {
        let error = fault(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(
            error.hint.as_deref().unwrap_or("").contains(hint),
            "{text}: {error}"
        );
        assert_eq!(
            error.text,
            text.lines().nth(line - 1).unwrap_or("").trim(),
            "{text}: {error}"
        );
    }
    let shown = fault("x = 1\nif x:\n    y = naem\n").to_string();
    assert_eq!(
        shown,
        "f:3: NameError: 'naem' is not set\n    y = naem\n    text goes in quotes"
    );
}

#[test]
fn the_xm_vars_protocol_declares_checks_and_explains() {
    let text = "def check(var, val):\n    val = int(val)\n    if val <= 0:\n        raise ValueError('vmid must be positive')\n    return val\n\
        xm_vars.var('vmid', use='Number of the machine. Integer > 0.', check=check)\nxm_vars.var('plain')\nxm_vars.check()\nname = 'vm%d' % vmid\n";
    let vmid = |value: &str| vec![("vmid".to_owned(), value.to_owned())];
    let with = |variables: &[(String, String)]| {
        run_all(
            &Run {
                file: "f",
                text,
                variables,
                help: false,
            },
            &Fake::default(),
        )
    };
    let bindings = with(&vmid("3")).unwrap();
    let find = |name: &str| {
        bindings
            .iter()
            .find(|binding| binding.name == name)
            .map(|binding| binding.value.clone())
    };
    assert_eq!(find("name"), Some(Data::Str("vm3".into())));
    assert_eq!(find("vmid"), Some(Data::Int(3)));
    assert_eq!(
        with(&vmid("0")).unwrap_err().message,
        "ValueError: vmid must be positive"
    );
    let error = with(&[]).unwrap_err();
    assert_eq!(
        (error.line, error.hint.as_deref()),
        (
            2,
            Some("give vmid=VALUE on the command line: Number of the machine. Integer > 0.")
        )
    );
    let host = Fake::default();
    run_all(
        &Run {
            file: "f",
            text,
            variables: &[],
            help: true,
        },
        &host,
    )
    .unwrap();
    let shown = host.0.lock().unwrap().join("\n");
    assert_eq!(
        shown,
        "\nConfiguration variables for f:\n\nvmid         Number of the machine. Integer > 0.\nplain        \n"
    );
}

#[test]
fn words_the_script_has_no_use_for_are_reported() {
    let variables =
        ["read", "declared", "set", "other"].map(|name| (name.to_owned(), "1".to_owned()));
    let text = "xm_vars.var('declared')\nset = 2\nname = 'a' + read\n";
    let outcome = super::run(
        &Run {
            file: "f",
            text,
            variables: &variables,
            help: false,
        },
        &Fake::default(),
    );
    assert_eq!(outcome.unwrap().unused, ["set", "other"]);
}

#[test]
fn a_name_is_used_when_the_script_reads_it() {
    let text = "vg = 'x'\nmemroy = 64\ndisk = [vg]\nfor i in range(2): pass\ndef helper(): pass\n";
    let unused: Vec<_> = run_text(text)
        .unwrap()
        .into_iter()
        .filter(|b| !b.is_used)
        .map(|b| (b.name, b.line))
        .collect();
    assert_eq!(unused, [("memroy".to_owned(), 2), ("disk".to_owned(), 3)]);
}

#[test]
fn deep_and_long_texts_end_in_an_error_not_in_a_crash() {
    for text in [
        "(".repeat(100_000),
        "x = ".to_owned() + &"[".repeat(50_000),
        "x = ".to_owned() + &"-".repeat(50_000) + "1",
        "x = ".to_owned() + &"not ".repeat(30_000) + "1",
        "x = 1".to_owned() + &" + 1".repeat(50_000),
        "x = f".to_owned() + &"()".repeat(50_000),
        "x = 2".to_owned() + &" ** 2".repeat(50_000),
        "x = 1".to_owned() + &" if 1 else 1".repeat(10_000),
        "x".to_owned() + &" = x".repeat(50_000),
        "x = ".to_owned() + &"lambda: ".repeat(20_000) + "1",
        "if 1:\n ".to_owned() + &"if 1: ".repeat(20_000) + "pass",
        (0..2_000)
            .map(|depth| " ".repeat(depth.min(120)) + "if 1:\n")
            .collect(),
        "f'{".to_owned() + &"(".repeat(10_000) + "}'",
        "x = []\n".to_owned() + &"x = [x]\n".repeat(5_000) + "y = str(x)",
        " ".repeat(MAX_SCRIPT + 1),
    ] {
        assert!(run_text(&text).is_err(), "{}...", &text[..40]);
    }
}

mod fuzz {
    use super::*;
    use proptest::prelude::*;

    /// Fragments of the language, in any order.
    fn fragments() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "x",
            "y",
            "=",
            "==",
            "+=",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            ";",
            ".",
            "\n",
            "\n    ",
            "if ",
            "else",
            "elif ",
            "for ",
            " in ",
            "while ",
            "def f(",
            "return ",
            "lambda ",
            "try:",
            "except:",
            "raise ",
            "import os",
            "print ",
            "'a'",
            "\"b%s\"",
            "f'{x}'",
            "'''",
            "'",
            "r'\\'",
            "%",
            "*",
            "**",
            "-",
            "/",
            "//",
            "<<",
            "1",
            "0",
            "0777",
            "1.5",
            "9223372036854775807",
            "None",
            "True",
            "range(9)",
            "str",
            "int(",
            "len(",
            "sorted(",
            ".join(",
            ".split()",
            ".format(",
            ".append(x)",
            "[::-1]",
            "[1:]",
            "xm_vars.",
            "os.path.",
            "#",
            "\\",
            "\t",
            " ",
            "not ",
            " and ",
            " or ",
            " is ",
            "del ",
            "global ",
            "assert ",
            "ä",
            "\u{0}",
            "break",
            "continue",
        ]);
        prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn any_fragments_run_or_fail(text in fragments()) {
            if let Err(error) = run_text(&text) {
                prop_assert!(!error.message.contains("please report"), "{}", error);
                prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1) + 1);
            }
        }

        #[test]
        fn any_text_runs_or_fails(text in any::<String>()) {
            if let Err(error) = run_text(&text) {
                prop_assert!(!error.message.contains("please report"), "{}", error);
            }
        }
    }
}
