use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Sexp {
    parse_one(text).unwrap()
}

fn fails(text: &str) -> (usize, usize, SxpErrorKind) {
    let error = parse_all(text).unwrap_err();
    (error.line, error.column, error.kind)
}

#[test]
fn atoms_strings_and_comments_are_read_as_in_2_0() {
    let text = "# all of it\n(vm\t(name 'a b') # a comment\n (mode w!) (x it's#gone\n))";
    let wanted = Sexp::element(
        "vm",
        [
            Sexp::pair("name", "a b"),
            Sexp::element("mode", [Sexp::atom("w"), Sexp::atom("!")]),
            Sexp::pair("x", "it's"),
        ],
    );
    assert_eq!(parse(text), wanted);
    assert_eq!(parse_all("a b 'c'd\u{4} (").unwrap().len(), 4);
    assert_eq!(parse_all(" # nothing\n").unwrap(), []);
}

#[test]
fn escapes_may_be_short_and_upper_case() {
    assert_eq!(
        parse(r#"'\x4A\x4z\112\7\a\t\\\'\"'"#),
        Sexp::atom("J\u{4}zJ\u{7}\u{7}\t\\'\"")
    );
    assert_eq!(parse(r"'\xc3\xa4'"), Sexp::atom("ä"));
}

#[test]
fn errors_name_line_and_column() {
    assert_eq!(fails("(a\n b))"), (2, 4, SxpErrorKind::StrayClose));
    assert_eq!(fails("(a\n (b"), (2, 4, SxpErrorKind::UnexpectedEof));
    assert_eq!(fails("'a"), (1, 3, SxpErrorKind::UnexpectedEof));
    assert_eq!(fails("'a\\"), (1, 4, SxpErrorKind::UnexpectedEof));
    assert_eq!(
        fails("a\u{1}"),
        (1, 2, SxpErrorKind::InvalidCharacter('\u{1}'))
    );
    assert_eq!(fails(r"'\q'"), (1, 3, SxpErrorKind::InvalidEscape('q')));
    assert_eq!(fails(r"'\xg'"), (1, 4, SxpErrorKind::InvalidEscape('g')));
    assert_eq!(fails(r"'\377'"), (1, 1, SxpErrorKind::InvalidUtf8));
    assert_eq!(fails(&"(".repeat(MAX_DEPTH + 1)).2, SxpErrorKind::TooDeep);
    assert_eq!(fails(&" ".repeat(MAX_SIZE + 1)).2, SxpErrorKind::TooLong);
    assert_eq!(parse_one("(a) # b\n\n (b)").unwrap_err().line, 3);
    assert_eq!(parse_one("").unwrap_err().kind, SxpErrorKind::NoExpression);
}

#[test]
fn atoms_are_quoted_where_2_0_quotes() {
    for (text, written) in [
        ("", "''"),
        ("@", "@"),
        ("a@b", "'a@b'"),
        ("phy:/dev/x_1~.2", "phy:/dev/x_1~.2"),
        ("w!", "'w!'"),
        ("it's", "\"it's\""),
        ("'\"", r#"'\'"'"#),
        ("a\\\n\t\r\u{1}ä", r"'a\\\n\t\r\x01\xc3\xa4'"),
    ] {
        assert_eq!(Sexp::atom(text).to_string(), written);
    }
}

#[test]
fn pretty_breaks_only_what_does_not_fit() {
    let long = "x".repeat(60);
    let list = Sexp::element(
        "a",
        [
            Sexp::pair("b", &long),
            Sexp::element("c", [Sexp::pair("d", &long), Sexp::atom(1)]),
        ],
    );
    let wanted = format!("(a\n    (b {long})\n    (c (d {long}) 1)\n)\n");
    assert_eq!(list.pretty(), wanted);
    // The whole line of 80 columns is used, and no more.
    assert_eq!(Sexp::pair("n", "x".repeat(76)).pretty().lines().count(), 1);
    assert_eq!(Sexp::pair("n", "x".repeat(77)).pretty().lines().count(), 3);
}

#[test]
fn elements_have_names_attributes_and_children() {
    let tree = parse("(a (@ (id x) (k v)) (b 1) (c (@ (id y)) z) (b 2))");
    assert_eq!(tree.name(), Some("a"));
    assert_eq!(tree.attribute("k"), Some("v"));
    assert_eq!(tree.children().len(), 3);
    assert_eq!(tree.child_value("b"), Some("1"));
    assert_eq!(tree.children_named("b").count(), 2);
    assert_eq!(tree.find_id("y").and_then(Sexp::value), Some("z"));
    assert_eq!(tree.find_id("z"), None);
    assert_eq!(parse("()").name(), None);
    assert_eq!(parse("(a (@))").children(), []);
}

#[test]
fn a_stream_is_read_as_far_as_it_goes() {
    let text = "(a b)(c";
    let mut reader = Reader::new(text);
    assert!(reader.next_expression().unwrap().is_some());
    assert_eq!(reader.position(), 5);
    assert_eq!(
        reader.next_expression().unwrap_err().kind,
        SxpErrorKind::UnexpectedEof
    );
}

fn any_sexp() -> impl Strategy<Value = Sexp> {
    let atom = prop_oneof!["[ -~]{0,12}", any::<String>()].prop_map(Sexp::Atom);
    atom.prop_recursive(6, 64, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(Sexp::List)
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(tree in any_sexp()) {
        prop_assert_eq!(&parse_one(&tree.to_string()).unwrap(), &tree);
        prop_assert_eq!(&parse_one(&tree.pretty()).unwrap(), &tree);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse_all(&text);
    }

    #[test]
    fn any_text_of_sxp_characters_is_read_or_refused(text in r#"[a(){}<>!;'"\\x01#@ \n\x04]{0,64}"#) {
        if let Ok(all) = parse_all(&text) {
            let written: Vec<String> = all.iter().map(Sexp::to_string).collect();
            prop_assert_eq!(parse_all(&written.join(" ")).unwrap(), all);
        }
    }
}
