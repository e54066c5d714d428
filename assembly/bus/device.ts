// The head of every controller's block. A controller's class extends it and adds its own fields; nothing is
// overridden (an @unmanaged hierarchy has no virtual calls), assembly/dispatch.ts switches on `kind`.
import { reserve } from './arena';
import { PROFILE_ADDRESS_BITS } from './codes';
import { AT_DEVICE_COUNT, AT_DEVICES, AT_SCRATCH, DEVICE_MAX } from './layout';
import { PciFunction } from './pci';

@unmanaged
export class Device {
  kind: u32;
  /** 1 and up, in the order of creation. */
  id: u32;
  /** The address lines that the board drives, as a mask. */
  lines: u64;
  /** Non-zero: the device may be bus master (PCI command register; always on ISA). */
  master: u32;
  /** Non-zero: memory and I/O accesses to the BARs are decoded. */
  decode: u32;
  /** Offset of the PCI function, 0 on ISA. */
  pci: u32;
  /** Interrupt line that INTx or the ISA interrupt drives. */
  line: u32;
  /** Non-zero while the device itself wants its line asserted (before the command register's gate). */
  wantsLine: u32;
  /** Non-zero while the line is asserted on the device's behalf. */
  assertsLine: u32;
  /** The command that DMA is done for, as the model numbers them: appears in findings and events. */
  command: u32;

  // Counters, read by the host.
  commands: u32;
  completions: u32;
  interrupts: u32;
  dmaReads: u32;
  dmaWrites: u32;
  dmaReadBytes: u64;
  dmaWriteBytes: u64;
  dmaFaults: u32;
  registerReads: u32;
  registerWrites: u32;
  /** Windows of on-chip memory that it has. */
  windows: u32;
}

/** Reserves a block of `bytes` bytes for a controller and enters it in the table; null when full. */
export function createDevice(kind: u32, bytes: u32, line: u32): Device | null {
  const count = load<u32>(AT_DEVICE_COUNT);
  if (count == DEVICE_MAX) return null;
  const offset = reserve(bytes, 64);
  if (offset == 0) return null;
  store<u32>(AT_DEVICES + (count << 2), offset);
  store<u32>(AT_DEVICE_COUNT, count + 1);
  const d = changetype<Device>(<usize>offset);
  d.kind = kind;
  d.id = count + 1;
  d.line = line;
  d.lines = linesMask(profileWord(PROFILE_ADDRESS_BITS));
  return d;
}

/** Word `i` of the profile that the host left in the scratch area before createController(). */
export function profileWord(i: u32): u32 {
  return load<u32>(AT_SCRATCH + (i << 2));
}

export function linesMask(bits: u32): u64 {
  return bits >= 64 ? u64.MAX_VALUE : ((<u64>1) << (<u64>bits)) - 1;
}

export function deviceAt(offset: u32): Device {
  return changetype<Device>(<usize>offset);
}

export function functionOf(d: Device): PciFunction {
  return changetype<PciFunction>(<usize>d.pci);
}
