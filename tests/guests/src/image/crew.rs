//! Rust code on several vcpus at once: each has a block with its stacks and its own catching of traps.
//!
//! `trap` serves one vcpu and keeps its state in globals. Here a vcpu's state lies at the start of its block, and rsp says
//! which block: the main stack ends where the block ends, and the stack for entries from user mode in its middle.
// UNSAFETY: trap entry and exit in assembly, and the blocks that it finds by the stack pointer.
#![expect(unsafe_code)]

use super::{abi, entry, hypercall, lone::Lone, memory, trap, trap::Frame};
use core::arch::{asm, global_asm};

/// How many vcpus may run Rust code.
pub const MAX: usize = 2;
const BLOCK_BYTES: usize = 0x2_0000;
/// Pages that belong to one vcpu alone, between its state and its stacks.
pub const ARENA_BYTES: u64 = 0xc000;
const ARENA_AT: u64 = 0x1000;
const USER_STACK_TOP: u64 = 0x1_4000;

/// A vcpu's own state, at the start of its block.
#[repr(C)]
struct Own {
    landing: u64,
    index: u64,
    upcalls: u64,
    traps: u64,
    vcpu_info: u64,
}

#[repr(C, align(0x20000))]
struct Blocks([[u8; BLOCK_BYTES]; MAX]);

static BLOCKS: Lone<Blocks> = Lone::new(Blocks([[0; BLOCK_BYTES]; MAX]));

global_asm!(
    ".section .text.crew, \"ax\"",
    ".balign 64",
    ".globl crew_stubs",
    "crew_stubs:",
    ".set vector, 0",
    ".rept 256",
    "    .balign 32",
    "    pop rcx",
    "    pop r11",
    "    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)",
    "        push 0",
    "    .endif",
    "    push vector",
    "    jmp crew_common",
    "    .set vector, vector + 1",
    ".endr",
    ".balign 32",
    ".globl crew_event, crew_syscall, crew_failsafe, crew_landing, crew_catch, crew_start",
    "crew_event: pop rcx; pop r11; push 0; push 0x100; jmp crew_common",
    "crew_syscall: pop rcx; pop r11; push 0; push 0x101; jmp crew_common",
    // rcx r11 ds es fs gs rip ...: the selectors are of no interest.
    "crew_failsafe: pop rcx; pop r11; add rsp, 32; push 0; push 0x102; jmp crew_common",
    "crew_common:",
    "    push rax; push rbx; push rcx; push rdx; push rsi; push rdi; push rbp; push r8",
    "    push r9; push r10; push r11; push r12; push r13; push r14; push r15",
    "    mov rdi, rsp",
    "    mov rbx, rsp",
    "    and rsp, -16",
    "    cld",
    "    call {handle}",
    "    mov rsp, rbx",
    "crew_resume:",
    "    pop r15; pop r14; pop r13; pop r12; pop r11; pop r10; pop r9; pop r8",
    "    pop rbp; pop rdi; pop rsi; pop rdx; pop rcx; pop rbx; pop rax",
    "    add rsp, 16",
    "    push 0; push rcx; push r11; push rax",
    "    mov eax, 23",
    "    syscall",
    "    ud2",
    // fn crew_catch(function, data) -> 1 when a trap ended it.
    "crew_catch:",
    "    push rbx; push rbp; push r12; push r13; push r14; push r15; sub rsp, 8",
    "    mov rax, rsp",
    "    and rax, {block_mask}",
    "    mov [rax], rsp",
    "    mov rax, rdi",
    "    mov rdi, rsi",
    "    call rax",
    "    xor eax, eax",
    "    jmp 1f",
    "crew_landing:",
    "    cld",
    "    mov eax, 1",
    "1:  add rsp, 8; pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "    ret",
    // Where another vcpu starts: on its own stack, rdi its function.
    "crew_start: call rdi; ud2",
    ".text",
    handle = sym handle,
    block_mask = const -(BLOCK_BYTES as i64),
);

unsafe extern "C" {
    safe static crew_stubs: u8;
    safe static crew_event: u8;
    safe static crew_syscall: u8;
    safe static crew_failsafe: u8;
    safe static crew_landing: u8;
    safe static crew_start: u8;
    fn crew_catch(function: extern "C" fn(*mut u8), data: *mut u8) -> u64;
}

fn block(index: usize) -> u64 {
    BLOCKS.address() + (index * BLOCK_BYTES) as u64
}

fn own_at(inside: u64) -> *mut Own {
    (inside & !(BLOCK_BYTES as u64 - 1)) as *mut Own
}

fn own() -> *mut Own {
    let rsp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) rsp, options(nomem, nostack)) };
    own_at(rsp)
}

/// The number of the vcpu that runs this.
pub fn index() -> usize {
    // SAFETY: this code runs on the stack of a block, which starts with its `Own`.
    unsafe { (*own()).index as usize }
}

/// How many event callbacks and other traps this vcpu had.
pub fn counts() -> (u64, u64) {
    // SAFETY: as `index`; handlers write between two instructions of ours at most.
    unsafe {
        (
            (&raw const (*own()).upcalls).read_volatile(),
            (&raw const (*own()).traps).read_volatile(),
        )
    }
}

/// Memory of this vcpu alone, for arguments.
pub fn arena() -> u64 {
    own() as u64 + ARENA_AT
}

/// The stack for entries from user mode.
pub fn user_stack_top() -> u64 {
    own() as u64 + USER_STACK_TOP
}

/// Where a catch goes on: for a frame that is to return there.
pub fn landing() -> (u64, u64) {
    // SAFETY: as `index`.
    let stack = unsafe { (*own()).landing };
    (core::ptr::from_ref(&crew_landing) as u64, stack)
}

extern "C" fn handle(frame: &mut Frame) {
    let own = own_at(core::ptr::from_mut(frame) as u64);
    // SAFETY: traps arrive on the stacks of a block; only its vcpu touches its `Own`.
    let own = unsafe { &mut *own };
    match frame.vector {
        trap::EVENT => {
            own.upcalls += 1;
            memory::write_byte(own.vcpu_info, 0);
            memory::write(own.vcpu_info + 8, 0);
            return;
        }
        // An NMI has nothing to say here.
        2 => return,
        trap::DB => {
            hypercall::call(abi::SET_DEBUGREG, [7, 0]);
            frame.rflags &= !0x100;
            return;
        }
        _ => {}
    }
    own.traps += 1;
    if own.landing == 0 {
        super::report::fail(format_args!(
            "vcpu {}: unexpected trap {:#x} error {:#x} rip {:#x} cr2 {:#x}",
            own.index,
            frame.vector,
            frame.error,
            frame.rip,
            memory::read(own.vcpu_info + 0x10)
        ));
    }
    frame.rip = core::ptr::from_ref(&crew_landing) as u64;
    frame.rsp = own.landing;
    frame.cs = abi::KERNEL_CS;
    frame.ss = abi::FLAT_SS64;
    frame.rflags &= abi::EFLAGS_IF;
}

/// Runs `code`; whether a trap ended it. Destructors of what the trap cut off do not run.
#[inline(never)]
pub fn catch<F: FnOnce()>(code: F) -> bool {
    extern "C" fn run<F: FnOnce()>(data: *mut u8) {
        // SAFETY: `data` is the `Option<F>` below, which lives until `crew_catch` returns.
        if let Some(code) = unsafe { &mut *data.cast::<Option<F>>() }.take() {
            code();
        }
    }
    let mut code = Some(code);
    let own = own();
    // SAFETY: (1) the assembly keeps the callee-saved registers, whichever way it returns; (2) `own` is this vcpu's.
    unsafe {
        let outer = (*own).landing;
        let is_trapped = crew_catch(run::<F>, (&raw mut code).cast()) != 0;
        (&raw mut (*own).landing).write_volatile(outer);
        is_trapped
    }
}

/// Registers the handlers of this vcpu: all vectors, the three callbacks, the stack for entries from user mode.
pub fn install() {
    let mut table = [trap::TrapInfo::default(); 257];
    for (vector, entry) in table.iter_mut().take(256).enumerate() {
        *entry = trap::TrapInfo {
            vector: vector as u8,
            flags: 3,
            cs: abi::FLAT_CS64 as u16,
            address: core::ptr::from_ref(&crew_stubs) as u64 + vector as u64 * 32,
        };
    }
    hypercall::call(abi::SET_TRAP_TABLE, [hypercall::pointer(&mut table)]);
    install_callbacks();
}

/// The callbacks and the stack alone.
pub fn install_callbacks() {
    for (kind, stub) in [(0, &crew_event), (1, &crew_failsafe), (2, &crew_syscall)] {
        trap::register_callback(kind, 1, core::ptr::from_ref(stub) as u64);
    }
    // The NMI's handler is a callback, too (CALLBACKTYPE_nmi).
    trap::register_callback(4, 0, core::ptr::from_ref(&crew_stubs) as u64 + 2 * 32);
    hypercall::call(abi::STACK_SWITCH, [abi::FLAT_SS64, user_stack_top()]);
}

/// Says where the vcpu's `vcpu_info` lies, and clears its block's state.
fn prepare(index: usize, vcpu_info: u64) {
    let own = block(index) as *mut Own;
    // SAFETY: the vcpu does not run yet.
    unsafe {
        (*own).index = index as u64;
        (*own).vcpu_info = vcpu_info;
    }
}

/// Goes on with `code` on the stack of vcpu 0's block.
pub fn run_first(vcpu_info: u64, code: extern "C" fn() -> !) -> ! {
    prepare(0, vcpu_info);
    let top = block(1);
    // SAFETY: nothing on the old stack is needed any more.
    unsafe { asm!("mov rsp, {}", "call {}", "ud2", in(reg) top, in(reg) code, options(noreturn)) }
}

/// Starts another vcpu at `code`; the hypervisor's answer. `context` is two pages in a row, free afterwards.
pub fn start(index: usize, vcpu_info: u64, context: u64, code: extern "C" fn() -> !) -> i64 {
    prepare(index, vcpu_info);
    fill_context(context, index, code as *const () as u64);
    match hypercall::call(abi::VCPU_OP, [0, index as u64, context]) {
        0 => hypercall::call(abi::VCPU_OP, [1, index as u64, 0]),
        error => error,
    }
}

/// Writes a `struct vcpu_guest_context` for vcpu `index` that starts at `code`.
pub fn fill_context(at: u64, index: usize, code: u64) {
    for word in 0..5168 / 8 {
        memory::write(at + word * 8, 0);
    }
    let top = block(index.min(MAX - 1)) + BLOCK_BYTES as u64;
    memory::write(at + 0x200, 1 << 2); // VGCF_in_kernel
    let registers = at + 0x208;
    memory::write(registers + 0x70, code); // rdi
    memory::write(registers + 0x80, core::ptr::from_ref(&crew_start) as u64);
    memory::write(registers + 0x88, abi::FLAT_CS64);
    memory::write(registers + 0x90, 0x200);
    memory::write(registers + 0x98, top);
    memory::write(registers + 0xa0, abi::FLAT_SS64);
    memory::write(at + 0x1368, abi::FLAT_SS64);
    memory::write(at + 0x1370, block(index.min(MAX - 1)) + USER_STACK_TOP);
    memory::write(at + 0x1390, memory::maddr_of(entry::start_info().pt_base)); // ctrlreg[3]
}
