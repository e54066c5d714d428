// PCI configuration space of one function: 256 bytes of registers, with a mask of the bits that software may
// write and a mask of those that a written one clears, so that no model parses configuration writes itself.
// Specification: PCI Local Bus 3.0, chapter 6; PCI Power Management 1.2.
import { reserve } from './arena';
import {
  PROFILE_DEVICE,
  PROFILE_REVISION,
  PROFILE_SUBSYSTEM,
  PROFILE_SUBSYSTEM_VENDOR,
  PROFILE_VENDOR,
} from './codes';
import { Device, functionOf, profileWord } from './device';
import { sendMessage, updateLine } from './irq';
import { msixEnabled, resetMsix, updateMsix } from './msix';
import {
  PCI_BAR_64,
  PCI_BAR_IO,
  PCI_BAR0,
  PCI_CACHE_LINE,
  PCI_CAP_MSI,
  PCI_CAP_PM,
  PCI_CAPABILITIES,
  PCI_CLASS,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_SERR,
  PCI_DEVICE,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_LATENCY,
  PCI_MSI_64,
  PCI_MSI_ENABLE,
  PCI_PM_CONTROL,
  PCI_PM_STATE,
  PCI_REVISION,
  PCI_STATUS,
  PCI_STATUS_CAPABILITIES,
  PCI_STATUS_CLEARABLE,
  PCI_STATUS_INTERRUPT,
  PCI_SUBSYSTEM,
  PCI_SUBSYSTEM_VENDOR,
  PCI_VENDOR,
} from './pci-regs';

const CONFIG_BYTES: u32 = 256;
const BARS: u32 = 6;

@unmanaged
export class PciFunction {
  /** The device that the function belongs to. */
  device: u32;
  /** Offsets in the configuration space of the power management and MSI capabilities, 0: none. */
  pm: u32;
  msi: u32;
  /** Offset of the last capability added, where the next link goes. */
  lastCapability: u32;
  /** Sizes of the BARs in bytes, a power of two; 0: not there. */
  barBytes0: u32;
  barBytes1: u32;
  barBytes2: u32;
  barBytes3: u32;
  barBytes4: u32;
  barBytes5: u32;
  /** BARs that are ports at fixed addresses, one bit each: I/O decoding gates them, no register moves them. */
  legacy: u32;
  /** MSI-X (msix.ts): offset of its capability, 0: none; its vectors; where table and pending bits are kept. */
  msix: u32;
  msixVectors: u32;
  msixTable: u32;
  /** And where the BAR has them. */
  msixTableAt: u32;
  msixPendingAt: u32;
}

/** Gives `d` a PCI function with the ids of its profile, the class code (24 bit) and interrupt pin A. */
export function createFunction(d: Device, classCode: u32): PciFunction | null {
  const offset = reserve(offsetof<PciFunction>() + 3 * CONFIG_BYTES, 16);
  if (offset == 0) return null;
  const f = changetype<PciFunction>(<usize>offset);
  f.device = changetype<usize>(d);
  d.pci = offset;
  set16(f, PCI_VENDOR, profileWord(PROFILE_VENDOR));
  set16(f, PCI_DEVICE, profileWord(PROFILE_DEVICE));
  set16(f, PCI_SUBSYSTEM_VENDOR, profileWord(PROFILE_SUBSYSTEM_VENDOR));
  set16(f, PCI_SUBSYSTEM, profileWord(PROFILE_SUBSYSTEM));
  set8(f, PCI_REVISION, profileWord(PROFILE_REVISION));
  set8(f, PCI_CLASS, classCode & 0xff);
  set16(f, PCI_CLASS + 1, classCode >>> 8);
  set8(f, PCI_INTERRUPT_PIN, 1);
  store<u16>(
    writable(f) + PCI_COMMAND,
    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE,
  );
  store<u16>(clearable(f) + PCI_STATUS, PCI_STATUS_CLEARABLE);
  store<u8>(writable(f) + PCI_CACHE_LINE, 0xff);
  store<u8>(writable(f) + PCI_LATENCY, 0xff);
  store<u8>(writable(f) + PCI_INTERRUPT_LINE, 0xff);
  return f;
}

/**
 * Adds BAR `i` of `bytes` bytes (a power of two, at least 4 for I/O and 16 for memory). `kind` is 0 for a
 * 32-bit memory BAR, or PCI_BAR_* bits; a 64-bit BAR takes the next one too.
 */
export function addBar(f: PciFunction, i: u32, bytes: u32, kind: u32): void {
  const at: usize = PCI_BAR0 + i * 4;
  store<u32>(barSizes(f) + i * 4, bytes);
  store<u32>(registers(f) + at, kind);
  store<u32>(writable(f) + at, ~(bytes - 1));
  if ((kind & PCI_BAR_64) != 0 && (kind & PCI_BAR_IO) == 0) store<u32>(writable(f) + at + 4, 0xffffffff);
}

/** Adds a capability of `bytes` bytes at `at` (dword aligned, above 40h) behind those that exist. */
export function addCapability(f: PciFunction, id: u32, at: u32, bytes: u32): void {
  assert(at >= 0x40 && at + bytes <= CONFIG_BYTES);
  set8(f, f.lastCapability == 0 ? PCI_CAPABILITIES : f.lastCapability + 1, at);
  set8(f, at, id);
  set8(f, at + 1, 0);
  f.lastCapability = at;
  set16(f, PCI_STATUS, get16(f, PCI_STATUS) | PCI_STATUS_CAPABILITIES);
}

/** Power management, version 3, D0 and D3hot (no soft reset: state is kept when `keepsState`). */
export function addPowerManagement(f: PciFunction, at: u32, keepsState: bool): void {
  addCapability(f, PCI_CAP_PM, at, 8);
  set16(f, at + 2, 0x0003);
  if (keepsState) set16(f, at + PCI_PM_CONTROL, 0x0008);
  store<u16>(writable(f) + at + PCI_PM_CONTROL, PCI_PM_STATE);
  f.pm = at;
}

/** MSI with one message, 64-bit address. */
export function addMsi(f: PciFunction, at: u32): void {
  addCapability(f, PCI_CAP_MSI, at, 14);
  set16(f, at + 2, PCI_MSI_64);
  const w = writable(f) + at;
  store<u16>(w + 2, PCI_MSI_ENABLE | 0x70);
  store<u32>(w + 4, 0xfffffffc);
  store<u32>(w + 8, 0xffffffff);
  store<u16>(w + 12, 0xffff);
  f.msi = at;
}

export function msiEnabled(f: PciFunction): bool {
  return f.msi != 0 && (get16(f, f.msi + 2) & PCI_MSI_ENABLE) != 0;
}

/** Sends the function's one MSI message. */
export function sendMsi(d: Device): void {
  const at = registers(functionOf(d)) + functionOf(d).msi;
  sendMessage(d, load<u64>(at + 4), <u32>load<u16>(at + 12));
}

/** Makes bits of a configuration byte writable by software. */
export function makeWritable(f: PciFunction, at: u32, bits: u32): void {
  store<u8>(writable(f) + at, load<u8>(writable(f) + at) | <u8>bits);
}

/** Makes bits of a configuration byte read-only. */
export function makeReadOnly(f: PciFunction, at: u32, bits: u32): void {
  store<u8>(writable(f) + at, load<u8>(writable(f) + at) & ~(<u8>bits));
}

/** Has the BARs of the bit set stand for ports at fixed addresses. */
export function keepLegacy(f: PciFunction, bars: u32): void {
  f.legacy = bars;
}

/** A read of 1, 2 or 4 bytes; what lies behind the 256 bytes reads as ones. */
export function configRead(d: Device, at: u32, size: u32): u32 {
  const f = functionOf(d);
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) {
    const byte: u32 = at + i < CONFIG_BYTES ? <u32>load<u8>(registers(f) + at + i) : 0xff;
    value |= byte << (i << 3);
  }
  return value;
}

/** A write of 1, 2 or 4 bytes: only writable bits change, written ones clear the clearable bits. */
export function configWrite(d: Device, at: u32, size: u32, value: u32): void {
  const f = functionOf(d);
  const state = powerState(f);
  for (let i: u32 = 0; i < size; i++) {
    if (at + i >= CONFIG_BYTES) break;
    const register = registers(f) + at + i;
    const byte = <u8>(value >>> (i << 3));
    const w = load<u8>(writable(f) + at + i);
    const c = load<u8>(clearable(f) + at + i);
    store<u8>(register, ((load<u8>(register) & ~w) | (byte & w)) & ~(byte & c));
  }
  // D1 and D2 are not there: asking for them changes nothing (PM 1.2, 3.2.4).
  const asked = powerState(f);
  if (asked == 1 || asked == 2)
    set16(f, f.pm + PCI_PM_CONTROL, (get16(f, f.pm + PCI_PM_CONTROL) & ~PCI_PM_STATE) | state);
  applyCommand(d);
  if (f.msix != 0 && at < f.msix + 4 && at + size > f.msix) updateMsix(d);
}

/** Draws the consequences of the command register and the power state. */
export function applyCommand(d: Device): void {
  const f = functionOf(d);
  const command = get16(f, PCI_COMMAND);
  const awake = powerState(f) == 0;
  d.master = awake && (command & PCI_COMMAND_MASTER) != 0 ? 1 : 0;
  d.decode = awake ? command & (PCI_COMMAND_IO | PCI_COMMAND_MEMORY) : 0;
  updateLine(d);
}

export function powerState(f: PciFunction): u32 {
  return f.pm == 0 ? 0 : get16(f, f.pm + PCI_PM_CONTROL) & PCI_PM_STATE;
}

/** Puts command, status, BARs, MSI and MSI-X back to their values at power-on. */
export function resetFunction(d: Device): void {
  const f = functionOf(d);
  for (let at: u32 = 0; at < CONFIG_BYTES; at++) {
    const w = load<u8>(writable(f) + at) | load<u8>(clearable(f) + at);
    const register = registers(f) + at;
    store<u8>(register, load<u8>(register) & ~w);
  }
  resetMsix(f);
  applyCommand(d);
}

/** Base address of BAR `i` with its type bits taken off. */
export function barAddress(f: PciFunction, i: u32): u64 {
  const at = registers(f) + PCI_BAR0 + i * 4;
  const low = load<u32>(at);
  if ((low & PCI_BAR_IO) != 0) return low & ~3;
  const high: u64 = (low & PCI_BAR_64) != 0 ? load<u32>(at + 4) : 0;
  return (high << 32) | (low & ~15);
}

/**
 * The BAR of `f` that decodes the memory address now, −1: none. BARs that hold 0 or whose decoding is off
 * do not.
 */
export function memoryBarAt(d: Device, address: u64): i32 {
  if (d.pci == 0 || (d.decode & PCI_COMMAND_MEMORY) == 0) return -1;
  const f = functionOf(d);
  for (let i: u32 = 0; i < BARS; i++) {
    const bytes = load<u32>(barSizes(f) + i * 4);
    if (bytes == 0 || (load<u32>(registers(f) + PCI_BAR0 + i * 4) & PCI_BAR_IO) != 0) continue;
    const base = barAddress(f, i);
    if (base != 0 && address - base < <u64>bytes) return <i32>i;
  }
  return -1;
}

/** Bytes from `address` on that no memory BAR of `d` decodes, or that one decodes, up to the place where that changes. */
export function untilBarEdge(d: Device, address: u64): u64 {
  if (d.pci == 0 || (d.decode & PCI_COMMAND_MEMORY) == 0) return u64.MAX_VALUE;
  const f = functionOf(d);
  let left = u64.MAX_VALUE;
  for (let i: u32 = 0; i < BARS; i++) {
    const bytes = load<u32>(barSizes(f) + i * 4);
    if (bytes == 0 || (load<u32>(registers(f) + PCI_BAR0 + i * 4) & PCI_BAR_IO) != 0) continue;
    const base = barAddress(f, i);
    if (base == 0) continue;
    if (base > address) left = min(left, base - address);
    else if (address - base < <u64>bytes) left = min(left, bytes - (address - base));
  }
  return left;
}

/** Whether the memory BAR `i` decodes addresses now: it is allowed to, and holds one. */
export function barReached(d: Device, i: u32): bool {
  return d.pci != 0 && (d.decode & PCI_COMMAND_MEMORY) != 0 && barAddress(functionOf(d), i) != 0;
}

/** Whether accesses to BAR `i` are decoded now: by the command register and the power state. */
export function barDecoded(d: Device, i: u32): bool {
  if (d.pci == 0) return true;
  if (i >= BARS) return false;
  const f = functionOf(d);
  const fixed = ((f.legacy >>> i) & 1) != 0;
  const io = fixed || (load<u32>(registers(f) + PCI_BAR0 + i * 4) & PCI_BAR_IO) != 0;
  return (d.decode & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) != 0;
}

/** Interrupt status bit of the status register. */
export function pciInterruptStatus(f: PciFunction, wanted: bool): void {
  const status = get16(f, PCI_STATUS);
  set16(f, PCI_STATUS, wanted ? status | PCI_STATUS_INTERRUPT : status & ~PCI_STATUS_INTERRUPT);
}

/** Whether INTx may be asserted: not disabled, not replaced by messages, not asleep. */
export function pciLineAllowed(f: PciFunction): bool {
  if ((get16(f, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) != 0) return false;
  return !msiEnabled(f) && !msixEnabled(f) && powerState(f) == 0;
}

export function get8(f: PciFunction, at: u32): u32 {
  return load<u8>(registers(f) + at);
}
export function get16(f: PciFunction, at: u32): u32 {
  return load<u16>(registers(f) + at);
}
export function get32(f: PciFunction, at: u32): u32 {
  return load<u32>(registers(f) + at);
}
export function set8(f: PciFunction, at: u32, value: u32): void {
  store<u8>(registers(f) + at, <u8>value);
}
export function set16(f: PciFunction, at: u32, value: u32): void {
  store<u16>(registers(f) + at, <u16>value);
}
export function set32(f: PciFunction, at: u32, value: u32): void {
  store<u32>(registers(f) + at, value);
}

function registers(f: PciFunction): usize {
  return changetype<usize>(f) + offsetof<PciFunction>();
}
function writable(f: PciFunction): usize {
  return registers(f) + CONFIG_BYTES;
}
function clearable(f: PciFunction): usize {
  return registers(f) + 2 * CONFIG_BYTES;
}
function barSizes(f: PciFunction): usize {
  return changetype<usize>(f) + offsetof<PciFunction>('barBytes0');
}
