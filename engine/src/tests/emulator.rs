//! AMX for CPUs without it: a handler of SIGILL that executes the instructions that the kernel consists of on tiles in memory, as Intel's
//! manual defines them (volume 2 of the Software Developer's Manual). Any other illegal instruction ends the process, as without it.

use libc::{c_int, c_void, greg_t, siginfo_t, ucontext_t};
use std::{array, cell::RefCell, mem, ptr, slice, sync::OnceLock};

const TILES: usize = 8;
const ROWS: usize = 16;
const ROW_BYTES: usize = 64;

type Tile = [[u8; ROW_BYTES]; ROWS];

/// The state of one thread.
struct State {
	/// As `ldtilecfg` reads it: byte 0 the palette, from 16 on 16-bit bytes per row, from 48 on rows. Zeros: not configured.
	config: [u8; 64],
	tiles: [Tile; TILES],
}

thread_local! {
	static STATE: RefCell<State> =
		const { RefCell::new(State { config: [0; 64], tiles: [[[0; ROW_BYTES]; ROWS]; TILES] }) };
}

/// Rows in memory.
struct Rows {
	start: usize,
	stride: usize,
}

enum Instruction {
	LoadConfig(usize),
	StoreConfig(usize),
	Release,
	Zero(usize),
	Load(usize, Rows),
	Store(Rows, usize),
	/// `sum += a * b`, the bytes of `b` signed.
	Dot {
		sum: usize,
		a: usize,
		b: usize,
		signed: bool,
	},
}

/// A memory operand: the address of its base with displacement, its index, and the bytes that it takes after the ModRM byte.
fn operand(
	modrm: u8,
	rest: &[u8],
	extended: [bool; 2],
	register: &dyn Fn(usize) -> usize,
) -> Option<(usize, Option<usize>, usize)> {
	let number = |low: u8, extended: bool| usize::from(low & 7) | usize::from(extended) << 3;
	let [index_extended, base_extended] = extended;
	let (base, index, len) = if modrm & 7 == 4 {
		let (sib, index) = (rest[0], number(rest[0] >> 3, index_extended));
		(number(sib, base_extended), (index != 4).then(|| register(index) << (sib >> 6)), 1)
	} else {
		(number(modrm, base_extended), None, 0)
	};
	let (displacement, bytes) = match modrm >> 6 {
		// Without a base, or relative to the instruction: nothing that the kernel uses.
		0 if base & 7 == 5 => return None,
		0 => (0, 0),
		1 => (i32::from(rest[len] as i8), 1),
		2 => (i32::from_le_bytes(rest[len..len + 4].try_into().ok()?), 4),
		_ => return None,
	};
	Some((register(base).wrapping_add_signed(displacement as isize), index, len + bytes))
}

/// The instruction and its length, if it is one of AMX that the kernel uses. All have a VEX prefix of three bytes.
fn decode(code: &[u8], register: &dyn Fn(usize) -> usize) -> Option<(Instruction, usize)> {
	let &[0xC4, map, fields, opcode, modrm, ref rest @ ..] = code else { return None };
	// Opcode map 0F38, and registers below 8; W and L are zero.
	if map & 0x9F != 0x82 || fields & 0x84 != 0 {
		return None;
	}
	let extended = [map & 0x40 == 0, map & 0x20 == 0];
	let (prefix, third) = (fields & 3, usize::from(!fields >> 3 & 15));
	let (in_register, tile, other) = (modrm >> 6 == 3, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
	let memory = |only_rows: bool| {
		let (address, index, len) = operand(modrm, rest, extended, register)?;
		(index.is_some() == only_rows).then_some((Rows { start: address, stride: index.unwrap_or(0) }, len))
	};
	let (instruction, len) = match (opcode, prefix, in_register) {
		(0x5E, 1 | 3, true) if third < TILES && extended == [false; 2] => {
			(Instruction::Dot { sum: tile, a: other, b: third, signed: prefix == 3 }, 0)
		}
		_ if third != 0 => return None,
		(0x49, 0, true) if modrm == 0xC0 => (Instruction::Release, 0),
		(0x49, 3, true) if other == 0 => (Instruction::Zero(tile), 0),
		(0x49, 0, false) if tile == 0 => memory(false).map(|(rows, len)| (Instruction::LoadConfig(rows.start), len))?,
		(0x49, 1, false) if tile == 0 => {
			memory(false).map(|(rows, len)| (Instruction::StoreConfig(rows.start), len))?
		}
		(0x4B, 3, false) => memory(true).map(|(rows, len)| (Instruction::Load(tile, rows), len))?,
		(0x4B, 2, false) => memory(true).map(|(rows, len)| (Instruction::Store(rows, tile), len))?,
		_ => return None,
	};
	Some((instruction, 5 + len))
}

impl State {
	fn rows(&self, tile: usize) -> usize {
		usize::from(self.config[48 + tile])
	}

	fn row_bytes(&self, tile: usize) -> usize {
		usize::from(u16::from_le_bytes([self.config[16 + 2 * tile], self.config[17 + 2 * tile]]))
	}

	fn reset(&mut self, config: [u8; 64]) {
		self.config = config;
		self.tiles = [[[0; ROW_BYTES]; ROWS]; TILES];
	}

	/// Executes an instruction; None where the CPU raises an exception.
	fn execute(&mut self, instruction: &Instruction) -> Option<()> {
		let configured = self.config[0] == 1;
		match *instruction {
			Instruction::LoadConfig(at) => {
				// SAFETY: what the program reads here is its own affair.
				let config = unsafe { ptr::read_unaligned(at as *const [u8; 64]) };
				let zeros = |bytes: &[u8]| bytes.iter().all(|x| *x == 0);
				let unused = [&config[1..16], &config[16 + 2 * TILES..48], &config[48 + TILES..]];
				let before = mem::replace(&mut self.config, config);
				let fit = (0..TILES).all(|tile| self.rows(tile) <= ROWS && self.row_bytes(tile) <= ROW_BYTES);
				if config[0] != 1 || !unused.into_iter().all(zeros) || !fit {
					self.config = before;
					return None;
				}
				self.reset(config);
			}
			// SAFETY: as above.
			Instruction::StoreConfig(at) => unsafe { ptr::write_unaligned(at as *mut [u8; 64], self.config) },
			Instruction::Release => self.reset([0; 64]),
			_ if !configured => return None,
			Instruction::Zero(tile) => self.tiles[tile] = [[0; ROW_BYTES]; ROWS],
			Instruction::Load(tile, Rows { start, stride }) => {
				let (rows, bytes) = (self.rows(tile), self.row_bytes(tile));
				let mut loaded = [[0; ROW_BYTES]; ROWS];
				for (row, out) in loaded[..rows].iter_mut().enumerate() {
					// SAFETY: as above.
					out[..bytes]
						.copy_from_slice(unsafe { slice::from_raw_parts((start + row * stride) as *const u8, bytes) });
				}
				self.tiles[tile] = loaded;
			}
			Instruction::Store(Rows { start, stride }, tile) => {
				let bytes = self.row_bytes(tile);
				for (row, stored) in self.tiles[tile][..self.rows(tile)].iter().enumerate() {
					// SAFETY: as above.
					unsafe { ptr::copy_nonoverlapping(stored.as_ptr(), (start + row * stride) as *mut u8, bytes) };
				}
			}
			Instruction::Dot { sum, a, b, signed } => {
				let (m, n, k) = (self.rows(sum), self.row_bytes(sum), self.row_bytes(a));
				let distinct = sum != a && sum != b && a != b;
				let agree = self.rows(a) == m && self.row_bytes(b) == n && self.rows(b) * 4 == k && n % 4 == 0;
				if !distinct || !agree {
					return None;
				}
				let (left, right) = (self.tiles[a], self.tiles[b]);
				let byte = |x: u8| if signed { i32::from(x as i8) } else { i32::from(x) };
				for (out, left) in self.tiles[sum][..m].iter_mut().zip(&left) {
					for (left, right) in left[..k].chunks_exact(4).zip(&right) {
						for (out, right) in out[..n].chunks_exact_mut(4).zip(right.chunks_exact(4)) {
							let products = left.iter().zip(right).map(|(a, b)| byte(*a) * i32::from(*b as i8));
							let before = i32::from_le_bytes([out[0], out[1], out[2], out[3]]);
							out.copy_from_slice(&before.wrapping_add(products.sum()).to_le_bytes());
						}
					}
				}
			}
		}
		Some(())
	}
}

extern "C" fn on_illegal(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
	/// The general registers as instructions number them.
	const NUMBERED: [c_int; 16] = [
		libc::REG_RAX,
		libc::REG_RCX,
		libc::REG_RDX,
		libc::REG_RBX,
		libc::REG_RSP,
		libc::REG_RBP,
		libc::REG_RSI,
		libc::REG_RDI,
		libc::REG_R8,
		libc::REG_R9,
		libc::REG_R10,
		libc::REG_R11,
		libc::REG_R12,
		libc::REG_R13,
		libc::REG_R14,
		libc::REG_R15,
	];
	/// Most bytes of an instruction.
	const LONGEST: usize = 15;

	// SAFETY: the system gives a handler with SA_SIGINFO the interrupted context.
	let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
	let at = registers[libc::REG_RIP as usize];
	// SAFETY: an instruction begins there; there is more of the program after any that this handler knows.
	let code = unsafe { slice::from_raw_parts(at as *const u8, LONGEST) };
	let decoded = decode(code, &|number| registers[NUMBERED[number] as usize] as usize);
	let executed = decoded.and_then(|(instruction, len)| {
		STATE.with_borrow_mut(|state| state.execute(&instruction))?;
		Some(len as greg_t)
	});
	match executed {
		Some(len) => registers[libc::REG_RIP as usize] = at + len,
		// Executed again, it ends the process.
		None => {
			// SAFETY: allowed in a handler.
			unsafe { libc::signal(libc::SIGILL, libc::SIG_DFL) };
		}
	}
}

/// Installs the handler in this process, once. False if the system refuses.
pub(crate) fn install() -> bool {
	static INSTALLED: OnceLock<bool> = OnceLock::new();
	*INSTALLED.get_or_init(|| {
		// SAFETY: zeros are a valid action; the handler touches nothing but its thread's state and what the instruction names.
		unsafe {
			let mut action: libc::sigaction = mem::zeroed();
			action.sa_sigaction = on_illegal as *const () as usize;
			action.sa_flags = libc::SA_SIGINFO;
			libc::sigaction(libc::SIGILL, &action, ptr::null_mut()) == 0
		}
	})
}

/// Where the CPU has AMX, it is the CPU that is tested.
#[test]
fn products_of_tiles_are_as_the_manual_says() {
	use std::arch::asm;

	if crate::Kernel::from_name("amx").is_none() {
		assert!(install());
	}
	let mut config = [0u8; 64];
	config[0] = 1;
	// 3 x 8 bytes times 8 x 5 bytes, four rows of which are one: 3 x 5 sums.
	for (tile, rows, row_bytes) in [(2, 3, 20), (0, 3, 8), (7, 2, 20)] {
		config[48 + tile] = rows;
		config[16 + 2 * tile] = row_bytes;
	}
	let a: [[u8; 8]; 3] =
		[[255, 0, 1, 128, 127, 2, 3, 250], [0, 0, 0, 0, 255, 255, 255, 255], [9, 200, 13, 40, 50, 60, 70, 80]];
	let b: [[i8; 20]; 2] = [
		[-128, 127, 1, -1, 5, 6, 7, 8, -9, -10, 11, 12, 0, 0, 0, 1, 100, -100, 90, -90],
		[3, -3, 127, -128, 0, 0, 0, -1, 21, 22, 23, 24, -25, -26, -27, -28, 127, 127, 127, 127],
	];
	for signed in [false, true] {
		let mut sums = [[i32::MAX, -7, 0, 1, 2]; 3];
		let expected: [[i32; 5]; 3] = array::from_fn(|m| {
			array::from_fn(|n| {
				let products = (0..8).map(|k| {
					let a = if signed { i32::from(a[m][k] as i8) } else { i32::from(a[m][k]) };
					a * i32::from(b[k / 4][4 * n + k % 4])
				});
				products.fold(sums[m][n], i32::wrapping_add)
			})
		});
		let mut stored = [1u8; 64];
		macro_rules! multiply {
			($dot:literal) => {
				// SAFETY: AMX or its emulation is there; tiles are as large as the arrays.
				unsafe {
					asm!(
						"ldtilecfg [{config}]",
						"tileloadd tmm2, [{sums} + 1 * {twenty}]",
						"tileloadd tmm0, [{a} + 1 * {eight}]",
						"tileloadd tmm7, [{b} + 1 * {twenty}]",
						concat!($dot, " tmm2, tmm0, tmm7"),
						"tilestored [{sums} + 1 * {twenty}], tmm2",
						"sttilecfg [{stored}]",
						"tilerelease",
						config = in(reg) &config,
						stored = in(reg) &mut stored,
						sums = in(reg) &mut sums,
						a = in(reg) &a,
						b = in(reg) &b,
						eight = in(reg) 8usize,
						twenty = in(reg) 20usize,
						options(nostack),
					);
				}
			};
		}
		if signed {
			multiply!("tdpbssd");
		} else {
			multiply!("tdpbusd");
		}
		assert_eq!(sums, expected);
		assert_eq!(stored, config);
	}
}
