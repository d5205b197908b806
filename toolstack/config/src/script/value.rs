//! Values, and the heap that holds those with contents.
//!
//! The heap only grows, and what is on it refers to the rest by number: cycles need no care, dropping it does not
//! recurse, and its size is what a script has used.

use super::ast::Function;
use super::fault::{Res, fatal};
use std::collections::HashMap;
use std::rc::Rc;

/// The longest string, in bytes.
const MAX_STRING: usize = 1 << 20;
/// All that a script may ever allocate, in bytes.
const MAX_MEMORY: usize = 32 << 20;
/// What an object costs beside its contents, and a value in a list.
const OBJECT: usize = 64;
const VALUE: usize = 24;

/// The place of an object on the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Rc<str>),
    List(Id),
    Tuple(Id),
    Dict(Id),
    Function(Id),
    Exception(Id),
    /// A method with the value it belongs to.
    Method(Id),
    /// A function of ours, by its full name.
    Builtin(&'static str),
    /// A module, or an object that is nothing but its attributes.
    Module(&'static str),
    /// A class of exceptions.
    Class(&'static str),
}

#[derive(Debug)]
pub(super) enum Object {
    /// A list or a tuple.
    Items(Vec<Value>),
    /// In the order of insertion. Searched from the start: dictionaries in configurations have a handful of entries.
    Dict(Vec<(Value, Value)>),
    Function {
        function: Rc<Function>,
        defaults: Vec<Value>,
        scope: Id,
    },
    Exception {
        class: &'static str,
        message: Rc<str>,
    },
    Method {
        receiver: Value,
        name: Rc<str>,
    },
    Scope {
        names: HashMap<Rc<str>, Value>,
        parent: Option<Id>,
        globals: Vec<Rc<str>>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Heap {
    objects: Vec<Object>,
    used: usize,
}

impl Heap {
    /// Accounts for memory.
    pub fn charge(&mut self, bytes: usize) -> Res<()> {
        self.used = self.used.saturating_add(bytes);
        if self.used > MAX_MEMORY {
            return Err(fatal(format_args!(
                "the script uses more than {} MiB of memory",
                MAX_MEMORY >> 20
            )));
        }
        Ok(())
    }

    /// Accounts for values added to a list.
    pub fn charge_values(&mut self, nr: usize) -> Res<()> {
        self.charge(nr.saturating_mul(VALUE))
    }

    pub fn add(&mut self, object: Object) -> Res<Id> {
        self.charge(OBJECT)?;
        match &object {
            Object::Items(items) => self.charge_values(items.len())?,
            Object::Dict(items) => self.charge_values(2 * items.len())?,
            _ => {}
        }
        let id = u32::try_from(self.objects.len())
            .map_err(|_| fatal("the script uses too much memory"))?;
        self.objects.push(object);
        Ok(Id(id))
    }

    /// Accounts for a string before it is made.
    pub fn charge_string(&mut self, bytes: usize) -> Res<()> {
        if bytes > MAX_STRING {
            return Err(fatal(format_args!(
                "the script makes a string of more than {MAX_STRING} bytes"
            )));
        }
        self.charge(bytes)
    }

    pub fn string(&mut self, text: &str) -> Res<Value> {
        self.charge_string(text.len())?;
        Ok(Value::Str(text.into()))
    }

    pub fn list(&mut self, items: Vec<Value>) -> Res<Value> {
        self.add(Object::Items(items)).map(Value::List)
    }

    pub fn tuple(&mut self, items: Vec<Value>) -> Res<Value> {
        self.add(Object::Items(items)).map(Value::Tuple)
    }

    pub fn dict(&mut self, items: Vec<(Value, Value)>) -> Res<Value> {
        self.add(Object::Dict(items)).map(Value::Dict)
    }

    pub fn get(&self, id: Id) -> &Object {
        &self.objects[id.0 as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Object {
        &mut self.objects[id.0 as usize]
    }

    /// The items of a list or a tuple; none for other objects.
    pub fn items(&self, id: Id) -> &[Value] {
        match self.get(id) {
            Object::Items(items) => items,
            _ => &[],
        }
    }

    /// The entries of a dictionary; none for other objects.
    pub fn entries(&self, id: Id) -> &[(Value, Value)] {
        match self.get(id) {
            Object::Dict(entries) => entries,
            _ => &[],
        }
    }
}

impl Value {
    /// The name of the type, as Python's errors say it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Function(_) | Self::Builtin(_) | Self::Method(_) => "function",
            Self::Exception(_) | Self::Class(_) => "exception",
            Self::Module(_) => "module",
        }
    }

    /// The number of an integer or a boolean.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// Any number, as a float.
    #[expect(clippy::cast_precision_loss, reason = "as Python converts")]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            other => other.as_int().map(|value| value as f64),
        }
    }
}
