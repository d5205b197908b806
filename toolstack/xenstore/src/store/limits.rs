//! Quotas of unprivileged connections, with the defaults of Xen's daemons.

/// What one unprivileged domain may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes it owns.
    pub nodes: u32,
    /// Watches it registers.
    pub watches: usize,
    /// Transactions it has open.
    pub transactions: usize,
    /// Bytes of one value.
    pub node_size: usize,
    /// Permission entries of one node.
    pub perms: usize,
    /// Steps in one transaction.
    pub transaction_steps: usize,
    /// Bytes one transaction read and wrote.
    pub transaction_bytes: usize,
    /// Bytes of replies and events waiting to be taken, above which no further request is served and events are merged.
    pub outstanding: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            nodes: 1000,
            watches: 128,
            transactions: 10,
            node_size: 2048,
            perms: 5,
            transaction_steps: 1024,
            transaction_bytes: 256 * 1024,
            outstanding: 64 * 1024,
        }
    }
}

impl Limits {
    /// The names and values, as `control quota` shows and sets them.
    pub fn entries(&self) -> [(&'static str, u64); 8] {
        let wide = |n: usize| n as u64;
        [
            ("nodes", u64::from(self.nodes)),
            ("watches", wide(self.watches)),
            ("transactions", wide(self.transactions)),
            ("node-size", wide(self.node_size)),
            ("permissions", wide(self.perms)),
            ("transaction-nodes", wide(self.transaction_steps)),
            ("transaction-bytes", wide(self.transaction_bytes)),
            ("outstanding", wide(self.outstanding)),
        ]
    }

    /// Sets one quota by name; `None`: there is none of this name, or the value is too large.
    pub fn set(&mut self, name: &str, value: u64) -> Option<()> {
        let wide = usize::try_from(value).ok()?;
        match name {
            "nodes" => self.nodes = u32::try_from(value).ok()?,
            "watches" => self.watches = wide,
            "transactions" => self.transactions = wide,
            "node-size" => self.node_size = wide,
            "permissions" => self.perms = wide,
            "transaction-nodes" => self.transaction_steps = wide,
            "transaction-bytes" => self.transaction_bytes = wide,
            "outstanding" => self.outstanding = wide,
            _ => return None,
        }
        Some(())
    }
}
