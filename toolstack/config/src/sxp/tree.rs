//! What 2.0 reads into lists: an element is a list with a name, perhaps attributes, and children.

use super::Sexp;

impl Sexp {
    /// An atom, of a text or of a number.
    pub fn atom(value: impl ToString) -> Self {
        Self::Atom(value.to_string())
    }

    /// The element `(name child...)`.
    pub fn element(name: &str, children: impl IntoIterator<Item = Sexp>) -> Self {
        Self::List(std::iter::once(Self::atom(name)).chain(children).collect())
    }

    /// The element `(name value)`.
    pub fn pair(name: &str, value: impl ToString) -> Self {
        Self::element(name, [Self::atom(value)])
    }

    /// The text, when this is an atom.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Atom(text) => Some(text),
            Self::List(_) => None,
        }
    }

    /// The items, when this is a list.
    pub fn as_list(&self) -> Option<&[Sexp]> {
        match self {
            Self::Atom(_) => None,
            Self::List(items) => Some(items),
        }
    }

    /// The name of an element: its first item, when that is an atom.
    pub fn name(&self) -> Option<&str> {
        self.as_list()?.first()?.as_text()
    }

    /// The attribute list `(@ (key value)...)`, when the second item is one.
    fn attributes(&self) -> Option<&[Sexp]> {
        let second = self.as_list()?.get(1)?;
        (second.name() == Some("@")).then(|| &second.as_list().unwrap_or_default()[1..])
    }

    /// The value of an attribute.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes()?
            .iter()
            .find(|pair| pair.name() == Some(key))?
            .as_list()?
            .get(1)?
            .as_text()
    }

    /// What follows name and attributes; nothing for an atom.
    pub fn children(&self) -> &[Sexp] {
        let skip = 1 + usize::from(self.attributes().is_some());
        self.as_list()
            .and_then(|items| items.get(skip..))
            .unwrap_or_default()
    }

    /// The first child element of a name.
    pub fn child(&self, name: &str) -> Option<&Sexp> {
        self.children()
            .iter()
            .find(|child| child.name() == Some(name))
    }

    /// All child elements of a name, in order.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sexp> {
        self.children()
            .iter()
            .filter(move |child| child.name() == Some(name))
    }

    /// The first child of an element, when that is an atom.
    pub fn value(&self) -> Option<&str> {
        self.children().first()?.as_text()
    }

    /// The value of the first child element of a name.
    pub fn child_value(&self, name: &str) -> Option<&str> {
        self.child(name)?.value()
    }

    /// The element whose attribute `id` is this, searched depth first.
    pub fn find_id(&self, id: &str) -> Option<&Sexp> {
        if self.attribute("id") == Some(id) {
            return Some(self);
        }
        self.children().iter().find_map(|child| child.find_id(id))
    }
}
