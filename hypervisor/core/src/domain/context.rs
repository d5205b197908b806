//! The registers of a vcpu that is on no CPU.

use alloc::boxed::Box;

use rexen_abi::arch_x86::CpuUserRegs;

/// Bytes that an XSAVE area of the states we let guests use never exceeds (x87, SSE, AVX, AVX-512, and the header).
const FPU_BYTES: usize = 4096;

/// The x87, SSE and extended state of a vcpu, as XSAVE or FXSAVE writes it.
#[repr(C, align(64))]
#[derive(Clone)]
pub struct FpuArea(pub [u8; FPU_BYTES]);

impl FpuArea {
    /// Bytes of it.
    pub const SIZE: usize = FPU_BYTES;

    /// The state of a CPU after reset: all zero but the control words (FCW 0x37f, MXCSR 0x1f80).
    pub fn new() -> Self {
        let mut bytes = [0; FPU_BYTES];
        bytes[0] = 0x7f;
        bytes[1] = 0x03;
        bytes[24] = 0x80;
        bytes[25] = 0x1f;
        // XSTATE_BV: x87 and SSE are in the image.
        bytes[512] = 3;
        FpuArea(bytes)
    }
}

impl Default for FpuArea {
    fn default() -> Self {
        Self::new()
    }
}

/// XCR0 of a new vcpu: x87 and SSE.
const BASE_XCR0: u64 = 3;

/// Everything that a context switch saves and loads, beyond what [`super::Vcpu`] always holds.
pub struct SavedContext {
    /// General registers and selectors.
    pub regs: CpuUserRegs,
    /// Whether the guest kernel runs (else guest user space).
    pub in_kernel: bool,
    /// FS base.
    pub fs_base: u64,
    /// GS base of the guest kernel.
    pub gs_base_kernel: u64,
    /// GS base of guest user space.
    pub gs_base_user: u64,
    /// x87, SSE and beyond.
    pub fpu: Box<FpuArea>,
    /// XCR0 as the guest set it.
    pub xcr0: u64,
}

impl SavedContext {
    /// Makes it as new. It allocates nothing: a guest can ask for it when there is no memory.
    pub fn reset(&mut self) {
        *self.fpu = FpuArea::new();
        self.regs = CpuUserRegs::default();
        self.in_kernel = true;
        (self.fs_base, self.gs_base_kernel, self.gs_base_user) = (0, 0, 0);
        self.xcr0 = BASE_XCR0;
    }
}

impl Default for SavedContext {
    fn default() -> Self {
        SavedContext {
            regs: CpuUserRegs::default(),
            in_kernel: true,
            fs_base: 0,
            gs_base_kernel: 0,
            gs_base_user: 0,
            fpu: Box::new(FpuArea::new()),
            xcr0: BASE_XCR0,
        }
    }
}
