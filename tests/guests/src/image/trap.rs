//! Traps and callbacks: all 256 vectors, the event, syscall and failsafe callbacks, and catching a fault.
//!
//! Every stub brings its frame into one form, `Frame`, and calls one handler. The handler asks the guest's hook,
//! else leaves the running `catch`, else the guest fails. Traps return with the iret hypercall.
// UNSAFETY: trap entry and exit in assembly, and frames on the stack that it hands over.
#![expect(unsafe_code)]

use super::{abi, hypercall, lone::Lone, report};
use core::arch::global_asm;

/// `Frame::vector` of an event callback.
pub const EVENT: u64 = 0x100;
/// `Frame::vector` of a syscall callback.
pub const SYSCALL: u64 = 0x101;
/// `Frame::vector` of a failsafe callback; its four segment selectors are in `Frame::error`, ds lowest.
pub const FAILSAFE: u64 = 0x102;

/// #DE, divide error.
pub const DE: u64 = 0;
/// #DB, debug.
pub const DB: u64 = 1;
/// #BP, breakpoint.
pub const BP: u64 = 3;
/// #UD, invalid opcode.
pub const UD: u64 = 6;
/// #NP, segment not present.
pub const NP: u64 = 11;
/// #SS, stack fault.
pub const SS: u64 = 12;
/// #GP, general protection.
pub const GP: u64 = 13;
/// #PF, page fault.
pub const PF: u64 = 14;

/// The interrupted context: registers, then vector and error code, then what the hypervisor pushed.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
#[expect(missing_docs, reason = "registers")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Frame {
    /// Whether the frame is of the guest's user mode.
    pub fn is_user(&self) -> bool {
        self.cs & 3 == 3
    }

    /// The evtchn_upcall_mask that the hypervisor saved in the frame.
    pub fn saved_upcall_mask(&self) -> u8 {
        (self.cs >> 32) as u8
    }
}

global_asm!(
    ".text",
    ".balign 4096",
    ".globl trap_stubs",
    "trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    "    .balign 32",
    "    pop rcx",
    "    pop r11",
    "    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)",
    "        push 0",
    "    .endif",
    "    push vector",
    "    jmp trap_common",
    "    .set vector, vector + 1",
    ".endr",
    ".balign 32",
    ".globl event_stub, syscall_stub, failsafe_stub",
    "event_stub: pop rcx; pop r11; push 0; push 0x100; jmp trap_common",
    "syscall_stub: pop rcx; pop r11; push 0; push 0x101; jmp trap_common",
    // Packs the four selectors into the error slot. Frame: rcx r11 ds es fs gs rip cs rflags rsp ss.
    "failsafe_stub:",
    "    push rax",
    "    mov rax, [rsp + 0x30]; shl rax, 16",
    "    mov ax, [rsp + 0x28]; shl rax, 16",
    "    mov ax, [rsp + 0x20]; shl rax, 16",
    "    mov ax, [rsp + 0x18]",
    "    mov [rsp + 0x30], rax",
    "    pop rax",
    "    mov rcx, [rsp]",
    "    mov r11, [rsp + 8]",
    "    lea rsp, [rsp + 0x28]",
    "    push 0x102",
    "    jmp trap_common",
    "trap_common:",
    "    push rax; push rbx; push rcx; push rdx; push rsi; push rdi; push rbp; push r8",
    "    push r9; push r10; push r11; push r12; push r13; push r14; push r15",
    "    mov rdi, rsp",
    "    mov rbx, rsp",
    "    and rsp, -16",
    "    cld",
    "    call {handle}",
    "    mov rsp, rbx",
    ".globl trap_resume",
    "trap_resume:",
    "    pop r15; pop r14; pop r13; pop r12; pop r11; pop r10; pop r9; pop r8",
    "    pop rbp; pop rdi; pop rsi; pop rdx; pop rcx; pop rbx; pop rax",
    "    add rsp, 16",
    "    push [rip + {iret_flags}]; push rcx; push r11; push rax",
    "    mov qword ptr [rip + {iret_flags}], 0",
    "    mov eax, 23",
    "    syscall",
    "    ud2",
    // fn trap_catch(function, data) -> 1 when a trap ended it. trap_landing is where the handler sends the trap.
    ".globl trap_catch, trap_landing",
    "trap_catch:",
    "    push rbx; push rbp; push r12; push r13; push r14; push r15; sub rsp, 8",
    "    mov [rip + {landing_stack}], rsp",
    "    mov rax, rdi",
    "    mov rdi, rsi",
    "    call rax",
    "    xor eax, eax",
    "    jmp 1f",
    "trap_landing:",
    "    cld",
    "    mov eax, 1",
    "1:  add rsp, 8; pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "    ret",
    ".globl trap_resume_frame",
    "trap_resume_frame:",
    "    mov rsp, rdi",
    "    jmp trap_resume",
    handle = sym handle,
    landing_stack = sym LANDING_STACK,
    iret_flags = sym IRET_FLAGS,
);

unsafe extern "C" {
    safe static trap_stubs: u8;
    safe static event_stub: u8;
    safe static syscall_stub: u8;
    safe static failsafe_stub: u8;
    safe static trap_landing: u8;
    fn trap_catch(function: extern "C" fn(*mut u8), data: *mut u8) -> u64;
    fn trap_resume_frame(frame: *mut Frame) -> !;
}

static LANDING_STACK: Lone<u64> = Lone::new(0);
static IRET_FLAGS: Lone<u64> = Lone::new(0);
static CAUGHT: Lone<Option<Frame>> = Lone::new(None);
/// Sees a trap first; true resumes the interrupted context.
pub type Hook = fn(&mut Frame) -> bool;

static HOOK: Lone<Option<Hook>> = Lone::new(None);
static TRAP_STACK: Lone<super::entry::Stack> =
    Lone::new(super::entry::Stack([0; super::entry::STACK_BYTES]));

/// One entry of the trap table (`struct trap_info`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TrapInfo {
    /// The vector.
    pub vector: u8,
    /// Bits 0 and 1: who may raise it with INT n; bit 2: mask events on entry.
    pub flags: u8,
    /// The handler's code selector.
    pub cs: u16,
    /// The handler; 0 ends the table.
    pub address: u64,
}

/// Registers handlers for all vectors (INT n from the kernel only, but 3, 4 and 0x80 from user mode too), the
/// callbacks, and the kernel stack for entries from user mode.
pub fn install() {
    let mut table = [TrapInfo::default(); 257];
    for (vector, entry) in table.iter_mut().take(256).enumerate() {
        let flags = if matches!(vector, 3 | 4 | 0x80) { 3 } else { 1 };
        *entry = info(vector as u8, flags);
    }
    hypercall::call(abi::SET_TRAP_TABLE, [hypercall::pointer(&mut table)]);
    for (kind, stub) in [(0, &event_stub), (1, &failsafe_stub), (2, &syscall_stub)] {
        register_callback(kind, 1, core::ptr::from_ref(stub) as u64);
    }
    hypercall::call(abi::STACK_SWITCH, [abi::FLAT_SS64, kernel_stack_top()]);
}

fn info(vector: u8, flags: u8) -> TrapInfo {
    let stub = core::ptr::from_ref(&trap_stubs) as u64 + u64::from(vector) * 32;
    TrapInfo {
        vector,
        flags,
        cs: abi::FLAT_CS64 as u16,
        address: stub,
    }
}

/// Registers one vector anew, with other flags.
pub fn set_flags(vector: u8, flags: u8) -> i64 {
    let mut table = [info(vector, flags), TrapInfo::default()];
    hypercall::call(abi::SET_TRAP_TABLE, [hypercall::pointer(&mut table)])
}

/// Takes all handlers away.
pub fn clear_table() -> i64 {
    hypercall::call(abi::SET_TRAP_TABLE, [0])
}

/// Registers a callback: `kind` is CALLBACKTYPE_*, flag 1 masks events on entry.
pub fn register_callback(kind: u16, flags: u16, address: u64) -> i64 {
    let mut words = [u64::from(kind) | u64::from(flags) << 16, address];
    hypercall::call(abi::CALLBACK_OP, [0, hypercall::pointer(&mut words)])
}

/// The top of the stack that entries from user mode use.
pub fn kernel_stack_top() -> u64 {
    TRAP_STACK.address() + super::entry::STACK_BYTES as u64
}

/// The address of the syscall callback, for a test that registers it again.
pub fn syscall_callback() -> u64 {
    core::ptr::from_ref(&syscall_stub) as u64
}

/// Sets the function that sees every trap first; true resumes the interrupted context.
pub fn set_hook(hook: Option<Hook>) {
    HOOK.set(hook);
}

extern "C" fn handle(frame: &mut Frame) {
    if let Some(hook) = HOOK.get()
        && hook(frame)
    {
        return;
    }
    if frame.vector == EVENT {
        super::event::note_upcall();
        return;
    }
    if LANDING_STACK.get() == 0 {
        report::fail(format_args!(
            "unexpected trap {:#x} error {:#x} rip {:#x} cr2 {:#x}",
            frame.vector,
            frame.error,
            frame.rip,
            super::memory::read_cr2()
        ));
    }
    CAUGHT.set(Some(*frame));
    frame.rip = core::ptr::from_ref(&trap_landing) as u64;
    frame.rsp = LANDING_STACK.get();
    frame.cs = abi::KERNEL_CS;
    frame.ss = abi::FLAT_SS64;
    frame.rflags &= abi::EFLAGS_IF;
}

/// Runs `code` and returns the trap that ended it, if one did. Destructors of what the trap cut off do not run.
#[inline(never)]
pub fn catch<F: FnOnce()>(code: F) -> Option<Frame> {
    extern "C" fn run<F: FnOnce()>(data: *mut u8) {
        // SAFETY: `data` is the `Option<F>` below, which lives until `trap_catch` returns.
        if let Some(code) = unsafe { &mut *data.cast::<Option<F>>() }.take() {
            code();
        }
    }
    let mut code = Some(code);
    let outer = LANDING_STACK.get();
    CAUGHT.set(None);
    // SAFETY: the assembly keeps the callee-saved registers, whichever way it returns.
    let trapped = unsafe { trap_catch(run::<F>, (&raw mut code).cast()) };
    LANDING_STACK.set(outer);
    if trapped == 0 { None } else { CAUGHT.get() }
}

/// Continues at a frame, through the iret hypercall with flags 0: every register is loaded.
pub fn resume(frame: Frame) -> ! {
    resume_with(frame, 0)
}

/// Continues at a frame, through the iret hypercall with these flags (VGCF_in_syscall is 0x100).
pub fn resume_with(mut frame: Frame, flags: u64) -> ! {
    IRET_FLAGS.set(flags);
    // SAFETY: the frame is complete, and its memory is this function's own.
    unsafe { trap_resume_frame(&raw mut frame) }
}

/// A kernel context that continues at `rip` on a stack of its own, events masked.
pub fn kernel_frame(rip: u64) -> Frame {
    Frame {
        rip,
        cs: abi::KERNEL_CS,
        ss: abi::FLAT_SS64,
        rsp: kernel_stack_top(),
        ..Frame::default()
    }
}
