// The bus master ([3]; references in channel.ts): its registers, and the walk through the table of descriptors. Both
// counters that go through memory are 16 bits wide: neither a table nor a region leaves its 64 KiB ([3] 1.2).
import { DMA_OK } from '../bus/codes';
import { functionOf } from '../bus/device';
import { dmaFetch } from '../bus/dma';
import { guardLoop } from '../bus/guard';
import { moveSegment } from '../bus/mover';
import { get16, set16 } from '../bus/pci';
import { PCI_STATUS, PCI_STATUS_RECEIVED_MASTER_ABORT } from '../bus/pci-regs';
import { Channel, channelAt, Piix, prdScratch, selectedDrive } from './channel';
import { runMaster } from './command';
import {
  MASTER_ACTIVE,
  MASTER_CAPABLE_0,
  MASTER_CAPABLE_1,
  MASTER_COMMAND,
  MASTER_ERROR,
  MASTER_INTERRUPT,
  MASTER_START,
  MASTER_STATUS,
  MASTER_STRIDE,
  MASTER_TABLE,
  MASTER_TO_MEMORY,
  PIIX_MASTER_BYTES,
  PRD_BYTES,
  PRD_COUNT,
  PRD_COUNT_MASK,
  PRD_COUNT_MAX,
  PRD_END,
} from './regs';

export const WALK_OK: u32 = 0;
/** The table's end came before the end of the data. */
export const WALK_SHORT: u32 = 1;
/** The table, or memory that it names, is not there; or it does not end. */
export const WALK_FAULT: u32 = 2;

const SPAN: u32 = 0x10000;

/** One byte of the master's registers. */
export function readMaster(d: Piix, at: u32): u32 {
  if (at >= <u32>PIIX_MASTER_BYTES) return 0xff;
  const c = channelAt(d, at / MASTER_STRIDE);
  const register = at % MASTER_STRIDE;
  if (register == MASTER_COMMAND) return c.command;
  if (register == MASTER_STATUS) return c.status;
  return register < <u32>MASTER_TABLE ? 0 : (c.table >>> ((register & 3) << 3)) & 0xff;
}

export function writeMaster(d: Piix, at: u32, value: u32): void {
  if (at >= <u32>PIIX_MASTER_BYTES) return;
  const c = channelAt(d, at / MASTER_STRIDE);
  const register = at % MASTER_STRIDE;
  if (register == MASTER_COMMAND) {
    command(d, c, value);
  } else if (register == MASTER_STATUS) {
    const software: u32 = MASTER_CAPABLE_0 | MASTER_CAPABLE_1;
    const cleared = value & (MASTER_ERROR | MASTER_INTERRUPT);
    c.status = (c.status & ~software & ~cleared) | (value & software);
  } else if (register >= <u32>MASTER_TABLE) {
    const shift = (register & 3) << 3;
    // Bits 1:0 are not there: a table is dword aligned ([3] 2.3).
    c.table = ((c.table & ~(0xff << shift)) | (value << shift)) & ~3;
  }
}

/** The start bit loads the table's address when it rises, and ends everything when it falls ([3] 2.1). */
function command(d: Piix, c: Channel, value: u32): void {
  const rises = (value & ~c.command & MASTER_START) != 0;
  const falls = (~value & c.command & MASTER_START) != 0;
  // The direction stands while a transfer is under way.
  const direction = (c.status & MASTER_ACTIVE) != 0 && !falls ? c.command : value;
  c.command = (value & MASTER_START) | (direction & MASTER_TO_MEMORY);
  if (falls) c.status &= ~MASTER_ACTIVE;
  if (!rises) return;
  c.status |= MASTER_ACTIVE;
  c.next = c.table;
  c.fetched = 0;
  c.last = 0;
  c.left = 0;
  runMaster(d, c, selectedDrive(c));
}

/** Whether the master is ready to move data in that direction. */
export function isReady(c: Channel, toMemory: bool): bool {
  return (c.status & MASTER_ACTIVE) != 0 && ((c.command & MASTER_TO_MEMORY) != 0) == toMemory;
}

/**
 * Moves `bytes` bytes through the table from where it stands; the mover has been told what to move. A table that
 * is used up with the data ends the transfer, one with more left stays active ([3] 2.2).
 */
export function walkTable(d: Piix, c: Channel, bytes: u32): u32 {
  let left = bytes;
  while (left > 0) {
    if (c.left == 0) {
      const outcome = nextEntry(d, c);
      if (outcome != WALK_OK) return outcome;
    }
    const part = min(min(c.left, left), SPAN - (c.address & (SPAN - 1)));
    if (moveSegment(d, c.address, part) != DMA_OK && !isDetached(d)) return fault(d, c);
    c.address = onward(c.address, part);
    c.left -= part;
    left -= part;
  }
  if (c.left == 0 && c.last != 0) c.status &= ~MASTER_ACTIVE;
  return WALK_OK;
}

function nextEntry(d: Piix, c: Channel): u32 {
  if (c.last != 0) {
    c.status &= ~MASTER_ACTIVE;
    return WALK_SHORT;
  }
  if (c.fetched == d.entries) {
    guardLoop(d, c.table);
    return fault(d, c);
  }
  const entry = prdScratch(d);
  // An entry that begins in the last dword of the 64 KiB ends in their first.
  const whole = (c.next & (SPAN - 1)) + PRD_BYTES <= SPAN;
  const first: u32 = whole ? PRD_BYTES : PRD_COUNT;
  if (isDetached(d)) memory.fill(entry, 0, PRD_BYTES);
  else if (dmaFetch(d, c.next, entry, first) != DMA_OK) return fault(d, c);
  else if (!whole && dmaFetch(d, onward(c.next, first), entry + PRD_COUNT, PRD_COUNT) != DMA_OK)
    return fault(d, c);
  c.next = onward(c.next, PRD_BYTES);
  c.fetched++;
  const count = load<u32>(entry, PRD_COUNT);
  c.address = load<u32>(entry) & ~1;
  c.left = count & PRD_COUNT_MASK;
  if (c.left == 0) c.left = PRD_COUNT_MAX;
  c.last = count & PRD_END;
  return WALK_OK;
}

/** A lenient master that may not use the bus reads zeroes, and what it writes is lost. */
function isDetached(d: Piix): bool {
  return d.lenient != 0 && d.master == 0;
}

/** The address `bytes` further, in the same 64 KiB. */
function onward(address: u32, bytes: u32): u32 {
  return (address & ~(SPAN - 1)) | ((address + bytes) & (SPAN - 1));
}

/** Nobody answered on PCI: the master stops, and says so in both its status and the function's. */
function fault(d: Piix, c: Channel): u32 {
  c.status = (c.status & ~MASTER_ACTIVE) | MASTER_ERROR;
  const f = functionOf(d);
  set16(f, PCI_STATUS, get16(f, PCI_STATUS) | PCI_STATUS_RECEIVED_MASTER_ABORT);
  return WALK_FAULT;
}
