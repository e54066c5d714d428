// Interrupts are bits: a model asserts and releases its line, or sends a message; the host polls the bits
// after each call into the module. Nothing here calls the host.
import { Device, functionOf } from './device';
import { dmaStore } from './dma';
import {
  AT_IRQ_CHANGES,
  AT_IRQ_COUNTS,
  AT_IRQ_LINES,
  AT_MESSAGE_COUNT,
  AT_MESSAGES,
  AT_MESSAGES_WANTED,
  AT_MSI_PENDING,
  AT_SCRATCH,
  MESSAGE_MAX,
  MESSAGE_STRIDE,
} from './layout';
import { pciInterruptStatus, pciLineAllowed } from './pci';
import { findRam } from './ram';
import { trace } from './trace';
import { TRACE_IRQ, TRACE_MSI } from './trace-codes';

/** Addresses that the interrupt controller decodes: a write there is a message, not a store. */
const MESSAGE_WINDOW: u64 = 0xfee00000;
const MESSAGE_WINDOW_BYTES: u64 = 0x100000;

/** Says whether the device wants its line asserted; the PCI command register may still gate it. */
export function setLine(d: Device, wanted: bool): void {
  d.wantsLine = wanted ? 1 : 0;
  updateLine(d);
}

/** Brings the line up to what the device wants and the command register allows. */
export function updateLine(d: Device): void {
  const wanted = d.wantsLine != 0;
  if (d.pci != 0) pciInterruptStatus(functionOf(d), wanted);
  const asserted = wanted && (d.pci == 0 || pciLineAllowed(functionOf(d)));
  if (asserted == (d.assertsLine != 0)) return;
  d.assertsLine = asserted ? 1 : 0;
  driveLine(d, d.line, asserted);
}

/**
 * Asserts or releases `line` on the device's behalf. A controller with more lines than one, which the PCI command
 * register does not gate, calls this itself, at changes only.
 */
export function driveLine(d: Device, line: u32, asserted: bool): void {
  const counter: usize = AT_IRQ_COUNTS + line;
  const count = load<u8>(counter) + (asserted ? 1 : -1);
  store<u8>(counter, count);
  const bit: u32 = 1 << line;
  const lines = load<u32>(AT_IRQ_LINES);
  store<u32>(AT_IRQ_LINES, count != 0 ? lines | bit : lines & ~bit);
  store<u32>(AT_IRQ_CHANGES, load<u32>(AT_IRQ_CHANGES) + 1);
  if (asserted) d.interrupts++;
  trace(TRACE_IRQ, d.id, line, asserted ? 1 : 0, 0, 0);
}

/**
 * Sends a message: a DMA write of four bytes, which the bus-master bit gates as any other. In the window of
 * the interrupt controller it sets the pending bit of the vector in the low eight bits of `data`; elsewhere
 * it is an ordinary store. A host that has an interrupt controller of its own gets every message that RAM does not.
 */
export function sendMessage(d: Device, address: u64, data: u32): void {
  if (d.master == 0) return;
  d.interrupts++;
  trace(TRACE_MSI, d.id, <u32>address, <u32>(address >> 32), data, 0);
  if (load<u32>(AT_MESSAGES_WANTED) != 0 && findRam(address & d.lines) == 0) {
    listMessage(address & d.lines, data);
    return;
  }
  if (address - MESSAGE_WINDOW < MESSAGE_WINDOW_BYTES) {
    const vector = data & 0xff;
    const word: usize = AT_MSI_PENDING + ((vector >>> 5) << 2);
    store<u32>(word, load<u32>(word) | (1 << (vector & 31)));
    store<u32>(AT_IRQ_CHANGES, load<u32>(AT_IRQ_CHANGES) + 1);
    return;
  }
  store<u32>(AT_SCRATCH, data);
  dmaStore(d, address, AT_SCRATCH, 4);
  store<u32>(AT_IRQ_CHANGES, load<u32>(AT_IRQ_CHANGES) + 1);
}

/** A message that is listed already is not listed twice: it is an edge that nobody has seen yet. */
function listMessage(address: u64, data: u32): void {
  const count = load<u32>(AT_MESSAGE_COUNT);
  let at: usize = AT_MESSAGES;
  for (const end = at + count * MESSAGE_STRIDE; at < end; at += MESSAGE_STRIDE) {
    if (load<u64>(at) == address && load<u32>(at, 8) == data) return;
  }
  if (count == MESSAGE_MAX) return;
  store<u64>(at, address);
  store<u32>(at, data, 8);
  store<u32>(AT_MESSAGE_COUNT, count + 1);
  store<u32>(AT_IRQ_CHANGES, load<u32>(AT_IRQ_CHANGES) + 1);
}

/** The lowest pending vector, which is then no longer pending; −1 when there is none. */
export function takeMessage(): i32 {
  for (let i: u32 = 0; i < 8; i++) {
    const word: usize = AT_MSI_PENDING + (i << 2);
    const bits = load<u32>(word);
    if (bits == 0) continue;
    const bit = ctz(bits);
    store<u32>(word, bits & (bits - 1));
    return <i32>((i << 5) + bit);
  }
  return -1;
}
