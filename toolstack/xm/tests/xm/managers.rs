//! What cluster managers read from `xl`, with their own rules for reading it.
//!
//! Sources: ganeti lib/hypervisor/hv_xen.py and src/Ganeti/Hypervisor/Xen/XlParser.hs; ClusterLabs resource-agents,
//! heartbeat/Xen. The rules are restated here from those parsers.

use crate::fake::Fake;

/// Ganeti splits each line after the first at blanks: six fields, four of them numbers, a state that it knows.
#[test]
fn ganeti_reads_the_list() {
    let out = Fake::new().out("xl list");
    let mut lines = out.lines();
    assert!(lines.next().unwrap().starts_with("Name "));
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row.len(), 6, "{row:?}");
        for number in [row[1], row[2], row[3]] {
            number.parse::<i64>().unwrap();
        }
        row[5].parse::<f64>().unwrap();
        let state = row[4].replace('p', "-");
        let running = ["r-----", "rb----", "-b----", "------", "-----d"];
        let known = [&running[..], &["---s--", "---s-d"]].concat();
        assert!(
            known.contains(&state.as_str()) || state.contains('c'),
            "{state}"
        );
    }
    assert_eq!(rows[1], ["web", "2", "64", "1", "-b----", "1.2"]);
    assert_eq!(rows[2][4], "-----d", "a dying domain");
}

/// Ganeti's node facts come from `info`, split at the first colon.
#[test]
fn ganeti_reads_the_node() {
    let out = Fake::new().out("xl info");
    let field = |name: &str| -> u64 {
        let mut pairs = out.lines().filter_map(|l| l.split_once(':'));
        let pair = pairs.find(|(key, _)| key.trim() == name);
        pair.unwrap_or_else(|| panic!("{name} in {out}"))
            .1
            .trim()
            .parse()
            .unwrap()
    };
    assert_eq!(field("total_memory"), 4096);
    assert_eq!(field("free_memory"), 2816);
    assert_eq!(field("nr_cpus"), 4);
    assert_eq!(field("nr_nodes"), 1);
    assert_eq!(field("cores_per_socket") * field("threads_per_core"), 4);
    assert_eq!((field("xen_major"), field("xen_minor")), (4, 17));
    assert!(
        !out.contains("\nmemory "),
        "that was Xen 3's name for total_memory"
    );
}

/// Lists, numbers and words between blanks and parentheses: all that Ganeti's parser of `list --long` knows.
#[derive(Debug)]
enum Lisp {
    List(Vec<Lisp>),
    Number(f64),
    Word(String),
}

fn lisp(tokens: &mut std::iter::Peekable<impl Iterator<Item = String>>) -> Lisp {
    let token = tokens.next().unwrap();
    if token != "(" {
        assert_ne!(token, ")");
        return token.parse().map_or(Lisp::Word(token), Lisp::Number);
    }
    let mut items = Vec::new();
    while tokens.peek().is_some_and(|t| t != ")") {
        items.push(lisp(tokens));
    }
    assert_eq!(tokens.next().as_deref(), Some(")"));
    Lisp::List(items)
}

fn value<'a>(domain: &'a Lisp, name: &str) -> &'a Lisp {
    let Lisp::List(items) = domain else { panic!() };
    items
        .iter()
        .find_map(|item| match item {
            Lisp::List(pair) => match &pair[..] {
                [Lisp::Word(key), value] if key == name => Some(value),
                _ => None,
            },
            _ => None,
        })
        .unwrap_or_else(|| panic!("{name} in {domain:?}"))
}

#[test]
fn ganeti_reads_the_long_list() {
    let out = Fake::new().out("xl list --long");
    let spaced = out.replace('(', " ( ").replace(')', " ) ");
    let mut tokens = spaced.split_whitespace().map(str::to_owned).peekable();
    let mut seen = Vec::new();
    while tokens.peek().is_some() {
        let domain = lisp(&mut tokens);
        let Lisp::List(items) = &domain else { panic!() };
        assert!(matches!(&items[0], Lisp::Word(word) if word == "domain"));
        let (Lisp::Number(id), Lisp::Word(name), Lisp::Number(time), Lisp::Word(state)) = (
            value(&domain, "domid"),
            value(&domain, "name"),
            value(&domain, "cpu_time"),
            value(&domain, "state"),
        ) else {
            panic!("{domain:?}");
        };
        seen.push(format!("{id} {name} {time} {state}"));
    }
    assert_eq!(
        seen,
        [
            "0 Domain-0 266.21 r-----",
            "2 web 1.25 -b----",
            "5 db 1.25 -----d"
        ]
    );
}

#[test]
fn ganeti_reads_uptimes() {
    let out = Fake::new().out("xl uptime");
    let mut lines = out.lines();
    let head: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["Name", "ID", "Uptime"]);
    for line in lines {
        let mut words = line.split_whitespace();
        words.next().unwrap();
        words.next().unwrap().parse::<u32>().unwrap();
        assert!(words.next().is_some(), "{line}");
    }
}

/// Pacemaker's agent greps `list --long` for `status` and takes the first two words of the line; 1 and 2 mean alive.
#[test]
fn pacemakers_agent_sees_whether_a_domain_is_alive() {
    let fake = Fake::new();
    let alive = |name: &str| {
        let out = fake.run(&format!("xl list --long {name}")).out;
        let lines: Vec<_> = out.lines().filter(|l| l.contains("status")).collect();
        assert!(lines.len() <= 1, "{out}");
        lines.first().is_some_and(|line| {
            let words: Vec<_> = line.split_whitespace().take(2).collect();
            ["(status 1)", "(status 2)"].contains(&words.join(" ").as_str())
        })
    };
    assert!(alive("web"));
    assert!(!alive("nobody"));
}

/// The agent lists names with `grep -v -e Name -e Domain-0`, and asks for the total memory.
#[test]
fn pacemakers_agent_counts_domains_and_memory() {
    let fake = Fake::new();
    let out = fake.out("xl list");
    let rest = out
        .lines()
        .filter(|l| !l.contains("Name") && !l.contains("Domain-0"));
    let names: Vec<_> = rest.map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["web", "db"]);
    let info = fake.out("xl info");
    let line = info
        .lines()
        .find(|l| l.starts_with("total_memory"))
        .unwrap();
    assert_eq!(line.split_whitespace().nth(2), Some("4096"));
}

/// Both change memory, and end domains, by these words.
#[test]
fn what_managers_type_is_accepted() {
    let fake = Fake::new();
    for line in [
        "xl mem-set web 64",
        "xl shutdown web",
        "xl reboot web",
        "xl destroy web",
    ] {
        assert_eq!(fake.out(line), "", "{line}");
    }
}
