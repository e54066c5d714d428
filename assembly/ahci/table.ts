// The command table's descriptors ([1] 4.2.3.3; references in hba.ts): a walk with a budget of bytes, which ends
// with the data or with the table.
import { DMA_OK } from '../bus/codes';
import { dmaFetch } from '../bus/dma';
import { moveSegment } from '../bus/mover';
import { Ahci, Port, PRD_CHUNK, prdScratch, raise, reach, Slot } from './hba';
import {
  AHCI_IS_DPS,
  AHCI_IS_OFS,
  AHCI_PRD_BYTES,
  AHCI_PRD_COUNT,
  AHCI_PRD_COUNT_MASK,
  AHCI_PRD_INTERRUPT,
  AHCI_TABLE_PRDT,
} from './regs';

export const TABLE_OK: u32 = 0;
/** The table holds fewer bytes than the command: overflow ([1] 6.1.5). */
export const TABLE_SHORT: u32 = 1;
/** The table, or memory that it names, is not there. */
export const TABLE_FAULT: u32 = 2;

/** Moves `bytes` bytes through the descriptors of `s`; the mover has been told what to move. */
export function walkTable(d: Ahci, p: Port, s: Slot, bytes: u32): u32 {
  let left = bytes;
  let done: u32 = 0;
  let interrupt: u32 = 0;
  let failed = false;
  const entries = prdScratch(d);
  while (left > 0 && done < s.prdtl && !failed) {
    const n = min(PRD_CHUNK, s.prdtl - done);
    const at = s.table + AHCI_TABLE_PRDT + done * AHCI_PRD_BYTES;
    if (dmaFetch(d, at, entries, n * AHCI_PRD_BYTES) != DMA_OK) return TABLE_FAULT;
    done += n;
    for (let i: u32 = 0; i < n && left > 0; i++) {
      const entry = entries + i * AHCI_PRD_BYTES;
      const count = load<u32>(entry, AHCI_PRD_COUNT);
      // Bit 0 of both fields is not there: addresses and counts are even.
      const length = ((count & AHCI_PRD_COUNT_MASK) | 1) + 1;
      const part = min(length, left);
      if (moveSegment(d, reach(d, load<u64>(entry) & ~1), part) != DMA_OK) {
        failed = true;
        break;
      }
      left -= part;
      if (part == length) interrupt |= count & AHCI_PRD_INTERRUPT;
    }
  }
  s.moved += bytes - left;
  if (interrupt != 0 && d.descriptorInterrupts != 0) raise(d, p, AHCI_IS_DPS);
  if (failed) return TABLE_FAULT;
  if (left == 0) return TABLE_OK;
  raise(d, p, AHCI_IS_OFS);
  return TABLE_SHORT;
}
