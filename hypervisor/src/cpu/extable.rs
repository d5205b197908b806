//! Instructions of ours that may fault: where to go on.

// UNSAFETY: makes a slice of the linker's table.
#![expect(unsafe_code)]

unsafe extern "C" {
    static ex_table_start: [u64; 2];
    static ex_table_end: [u64; 2];
}

/// Where to go on after a fault at `rip` inside the hypervisor, if that was foreseen.
///
/// An entry is two words in section `.ex_table`: the address of the instruction, and where to go on.
pub fn fixup(rip: u64) -> Option<u64> {
    // SAFETY: the linker script puts both symbols around whole, aligned entries of constant data.
    let table = unsafe {
        let start = &raw const ex_table_start;
        let len = (&raw const ex_table_end).offset_from(start) as usize;
        core::slice::from_raw_parts(start, len)
    };
    table
        .iter()
        .find(|entry| entry[0] == rip)
        .map(|entry| entry[1])
}
