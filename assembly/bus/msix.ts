// MSI-X (PCI 3.0, 6.8.2): a table of messages and an array of pending bits in a BAR of the function. The model
// forwards accesses to that BAR, and says which vector it wants; what is masked stays pending until it is not.
import { reserve } from './arena';
import { Device, functionOf } from './device';
import { sendMessage } from './irq';
import { addCapability, get16, makeWritable, PciFunction, set16, set32 } from './pci';
import {
  PCI_CAP_MSIX,
  PCI_MSIX_ENABLE,
  PCI_MSIX_ENTRY_ADDRESS,
  PCI_MSIX_ENTRY_BYTES,
  PCI_MSIX_ENTRY_CONTROL,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_FUNCTION_MASK,
  PCI_MSIX_MASKED,
  PCI_MSIX_PBA,
  PCI_MSIX_TABLE,
} from './pci-regs';

/**
 * Adds the capability at `at`: `vectors` (1 to 2048) entries at `tableAt` of BAR `bar`, pending bits at `pbaAt`.
 * Both are multiples of 8. False when there is no memory for the table.
 */
export function addMsix(f: PciFunction, at: u32, vectors: u32, bar: u32, tableAt: u32, pbaAt: u32): bool {
  const table = reserve(vectors * PCI_MSIX_ENTRY_BYTES + pendingBytes(vectors), 16);
  if (table == 0) return false;
  addCapability(f, PCI_CAP_MSIX, at, 12);
  set16(f, at + 2, vectors - 1);
  set32(f, at + PCI_MSIX_TABLE, tableAt | bar);
  set32(f, at + PCI_MSIX_PBA, pbaAt | bar);
  makeWritable(f, at + 3, (PCI_MSIX_ENABLE | PCI_MSIX_FUNCTION_MASK) >>> 8);
  f.msix = at;
  f.msixVectors = vectors;
  f.msixTable = table;
  f.msixTableAt = tableAt;
  f.msixPendingAt = pbaAt;
  resetMsix(f);
  return true;
}

export function msixEnabled(f: PciFunction): bool {
  return f.msix != 0 && (get16(f, f.msix + 2) & PCI_MSIX_ENABLE) != 0;
}

/** Every vector masked, none pending. */
export function resetMsix(f: PciFunction): void {
  if (f.msix == 0) return;
  memory.fill(entry(f, 0), 0, f.msixVectors * PCI_MSIX_ENTRY_BYTES + pendingBytes(f.msixVectors));
  for (let i: u32 = 0; i < f.msixVectors; i++) {
    store<u32>(entry(f, i), PCI_MSIX_MASKED, PCI_MSIX_ENTRY_CONTROL);
  }
}

/** Sends the message of `vector`, or leaves it pending where it is masked. Nothing while MSI-X is off. */
export function sendMsix(d: Device, vector: u32): void {
  const f = functionOf(d);
  if (!msixEnabled(f) || vector >= f.msixVectors) return;
  if (isMasked(f, vector)) setPending(f, vector, true);
  else send(d, f, vector);
}

/** Software changed the capability: what is pending and no longer masked goes out now. */
export function updateMsix(d: Device): void {
  const f = functionOf(d);
  if (!msixEnabled(f)) return;
  for (let i: u32 = 0; i < f.msixVectors; i++) sendPending(d, f, i);
}

/** A read of the BAR that holds table and pending bits; 0 beside them. */
export function msixRead(d: Device, at: u32, size: u32): u32 {
  const f = functionOf(d);
  let value: u32 = 0;
  for (let i: u32 = 0; i < size; i++) {
    const from = byteAt(f, at + i);
    if (from != 0) value |= (<u32>load<u8>(from)) << (i << 3);
  }
  return value;
}

/** A write to that BAR: the table alone takes it. */
export function msixWrite(d: Device, at: u32, size: u32, value: u32): void {
  const f = functionOf(d);
  const end = f.msixTableAt + f.msixVectors * PCI_MSIX_ENTRY_BYTES;
  for (let i: u32 = 0; i < size; i++) {
    if (at + i < f.msixTableAt || at + i >= end) continue;
    const offset = at + i - f.msixTableAt;
    store<u8>(entry(f, 0) + offset, <u8>((value >>> (i << 3)) & writableBits(offset & 15)));
    if (i == size - 1 || (offset & 15) == 15) sendPending(d, f, offset / PCI_MSIX_ENTRY_BYTES);
  }
}

/** Bits of an entry's byte that exist: messages are dwords at dwords, and one bit masks. */
function writableBits(offset: u32): u32 {
  if (offset == 0) return 0xfc;
  if (offset < <u32>PCI_MSIX_ENTRY_CONTROL) return 0xff;
  return offset == PCI_MSIX_ENTRY_CONTROL ? PCI_MSIX_MASKED : 0;
}

function sendPending(d: Device, f: PciFunction, vector: u32): void {
  if (!isPending(f, vector) || !msixEnabled(f) || isMasked(f, vector)) return;
  setPending(f, vector, false);
  send(d, f, vector);
}

function send(d: Device, f: PciFunction, vector: u32): void {
  const at = entry(f, vector);
  sendMessage(d, load<u64>(at, PCI_MSIX_ENTRY_ADDRESS), load<u32>(at, PCI_MSIX_ENTRY_DATA));
}

function isMasked(f: PciFunction, vector: u32): bool {
  if ((get16(f, f.msix + 2) & PCI_MSIX_FUNCTION_MASK) != 0) return true;
  return (load<u32>(entry(f, vector), PCI_MSIX_ENTRY_CONTROL) & PCI_MSIX_MASKED) != 0;
}

function isPending(f: PciFunction, vector: u32): bool {
  return ((load<u8>(pending(f) + (vector >>> 3)) >>> (vector & 7)) & 1) != 0;
}

function setPending(f: PciFunction, vector: u32, on: bool): void {
  const at = pending(f) + (vector >>> 3);
  const bit: u32 = 1 << (vector & 7);
  store<u8>(at, <u8>(on ? load<u8>(at) | bit : load<u8>(at) & ~bit));
}

/** Where the BAR's byte `at` is kept, 0: nowhere. */
function byteAt(f: PciFunction, at: u32): usize {
  if (at - f.msixTableAt < f.msixVectors * PCI_MSIX_ENTRY_BYTES) return entry(f, 0) + (at - f.msixTableAt);
  if (at - f.msixPendingAt < pendingBytes(f.msixVectors)) return pending(f) + (at - f.msixPendingAt);
  return 0;
}

function entry(f: PciFunction, vector: u32): usize {
  return <usize>f.msixTable + vector * PCI_MSIX_ENTRY_BYTES;
}
function pending(f: PciFunction): usize {
  return entry(f, f.msixVectors);
}
/** Pending bits come in qwords. */
function pendingBytes(vectors: u32): u32 {
  return ((vectors + 63) >>> 6) << 3;
}
