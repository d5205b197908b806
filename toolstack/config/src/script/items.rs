//! Sequences and dictionaries: iteration, indices, slices.

use super::fault::{Res, raise};
use super::interp::Interp;
use super::value::{Id, Object, Value};

impl Interp<'_> {
    /// The items a loop goes through: those there are when it starts.
    pub fn iterate(&mut self, value: &Value) -> Res<Vec<Value>> {
        match value {
            Value::List(id) | Value::Tuple(id) => {
                self.work(self.heap.items(*id).len())?;
                Ok(self.heap.items(*id).to_vec())
            }
            Value::Dict(id) => {
                self.work(self.heap.entries(*id).len())?;
                Ok(self
                    .heap
                    .entries(*id)
                    .iter()
                    .map(|(key, _)| key.clone())
                    .collect())
            }
            Value::Str(text) => {
                self.heap.charge_values(2 * text.len())?;
                self.work(text.len())?;
                Ok(text
                    .chars()
                    .map(|c| Value::Str(c.to_string().into()))
                    .collect())
            }
            other => Err(raise(
                "TypeError",
                format_args!("{} has no items", other.type_name()),
            )),
        }
    }

    pub fn length(&self, value: &Value) -> Option<usize> {
        match value {
            Value::List(id) | Value::Tuple(id) => Some(self.heap.items(*id).len()),
            Value::Dict(id) => Some(self.heap.entries(*id).len()),
            Value::Str(text) => Some(text.chars().count()),
            _ => None,
        }
    }

    pub fn get_item(&mut self, container: &Value, index: &Value) -> Res<Value> {
        match container {
            Value::Dict(id) => match self.find_key(*id, index)? {
                Some(at) => Ok(self.heap.entries(*id)[at].1.clone()),
                None => Err(raise("KeyError", self.repr(index)?)),
            },
            Value::List(id) | Value::Tuple(id) => {
                let at = self.position(container, index)?;
                Ok(self.heap.items(*id)[at].clone())
            }
            Value::Str(text) => {
                let at = self.position(container, index)?;
                self.work(text.len())?;
                let c = text.chars().nth(at).map(String::from).unwrap_or_default();
                self.heap.string(&c)
            }
            other => Err(raise(
                "TypeError",
                format_args!("{} has no items to index", other.type_name()),
            )),
        }
    }

    /// An index as a position, counted from the end when it is negative.
    fn position(&self, container: &Value, index: &Value) -> Res<usize> {
        let length = self.length(container).unwrap_or(0);
        let Some(index) = index.as_int() else {
            return Err(raise(
                "TypeError",
                format_args!("an index is a number, not {}", index.type_name()),
            ));
        };
        let from_start = if index < 0 {
            index.saturating_add_unsigned(length as u64)
        } else {
            index
        };
        usize::try_from(from_start)
            .ok()
            .filter(|at| *at < length)
            .ok_or_else(|| {
                raise(
                    "IndexError",
                    format_args!(
                        "there is no item {index}: {} has {length}",
                        container.type_name()
                    ),
                )
            })
    }

    pub fn set_item(&mut self, container: &Value, index: &Value, value: Value) -> Res<()> {
        match container {
            Value::List(id) => {
                let at = self.position(container, index)?;
                if let Object::Items(items) = self.heap.get_mut(*id) {
                    items[at] = value;
                }
                Ok(())
            }
            Value::Dict(id) => {
                if matches!(index, Value::List(_) | Value::Dict(_)) {
                    return Err(raise(
                        "TypeError",
                        format_args!("{} cannot be a key", index.type_name()),
                    ));
                }
                let at = self.find_key(*id, index)?;
                self.heap.charge_values(2)?;
                if let Object::Dict(entries) = self.heap.get_mut(*id) {
                    match at {
                        Some(at) => entries[at].1 = value,
                        None => entries.push((index.clone(), value)),
                    }
                }
                Ok(())
            }
            other => Err(raise(
                "TypeError",
                format_args!("items of {} cannot be set", other.type_name()),
            )),
        }
    }

    pub fn delete_item(&mut self, container: &Value, index: &Value) -> Res<()> {
        match container {
            Value::List(id) => {
                let at = self.position(container, index)?;
                self.work(self.heap.items(*id).len())?;
                if let Object::Items(items) = self.heap.get_mut(*id) {
                    items.remove(at);
                }
                Ok(())
            }
            Value::Dict(id) => {
                let Some(at) = self.find_key(*id, index)? else {
                    return Err(raise("KeyError", self.repr(index)?));
                };
                if let Object::Dict(entries) = self.heap.get_mut(*id) {
                    entries.remove(at);
                }
                Ok(())
            }
            other => Err(raise(
                "TypeError",
                format_args!("items of {} cannot be deleted", other.type_name()),
            )),
        }
    }

    /// The place of a key in a dictionary.
    pub fn find_key(&mut self, dict: Id, key: &Value) -> Res<Option<usize>> {
        for at in 0..self.heap.entries(dict).len() {
            let other = self.heap.entries(dict)[at].0.clone();
            if self.equal(&other, key)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    pub fn append(&mut self, list: &Value, value: Value) -> Res<()> {
        match list {
            Value::List(id) => self.extend(*id, vec![value]),
            _ => Ok(()),
        }
    }

    pub fn extend(&mut self, list: Id, more: Vec<Value>) -> Res<()> {
        self.heap.charge_values(more.len())?;
        self.work(more.len())?;
        if let Object::Items(items) = self.heap.get_mut(list) {
            items.extend(more);
        }
        Ok(())
    }

    /// `of[start:stop:step]`.
    pub fn slice(&mut self, of: &Value, bounds: &[Option<Value>; 3]) -> Res<Value> {
        let Some(length) = self.length(of).filter(|_| !matches!(of, Value::Dict(_))) else {
            return Err(raise(
                "TypeError",
                format_args!("{} has no slices", of.type_name()),
            ));
        };
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            *number = match bound {
                None | Some(Value::None) => None,
                Some(value) => Some(
                    value
                        .as_int()
                        .ok_or_else(|| raise("TypeError", "the bounds of a slice are numbers"))?,
                ),
            };
        }
        let step = numbers[2].unwrap_or(1);
        if step == 0 {
            return Err(raise("ValueError", "the step of a slice is not 0"));
        }
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let (low, high) = if step > 0 {
            (0, length)
        } else {
            (-1, length - 1)
        };
        let bound = |number: Option<i64>, default: i64| match number {
            None => default,
            Some(number) => (if number < 0 {
                number.saturating_add(length)
            } else {
                number
            })
            .clamp(low, high),
        };
        let mut at = bound(numbers[0], if step > 0 { low } else { high });
        let stop = bound(numbers[1], if step > 0 { high } else { low });
        let mut picked = Vec::new();
        while if step > 0 { at < stop } else { at > stop } {
            picked.extend(usize::try_from(at).ok());
            at = at.saturating_add(step);
        }
        self.work(picked.len())?;
        match of {
            Value::Str(text) => {
                self.work(text.len())?;
                let chars: Vec<char> = text.chars().collect();
                let text: String = picked.iter().filter_map(|at| chars.get(*at)).collect();
                self.heap.string(&text)
            }
            Value::List(id) | Value::Tuple(id) => {
                let items = self.heap.items(*id);
                let picked = picked
                    .iter()
                    .filter_map(|at| items.get(*at).cloned())
                    .collect();
                if matches!(of, Value::List(_)) {
                    self.heap.list(picked)
                } else {
                    self.heap.tuple(picked)
                }
            }
            _ => Ok(Value::None),
        }
    }
}
