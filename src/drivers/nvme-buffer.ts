// The controller memory buffer ([1] 3.1.11, 3.1.12, 3.1.16): where the driver's submission queues are, if it is told to.
// References are those of nvme.ts.

import { PCI_BAR_64, PCI_BAR0 } from '../../assembly/bus/pci-regs.ts';
import {
  NVME_BAR,
  NVME_CAP_CMBS,
  NVME_CAP_HIGH,
  NVME_CMBLOC,
  NVME_CMBMSC,
  NVME_CMBMSC_CMSE,
  NVME_CMBMSC_CRE,
  NVME_CMBMSC_HIGH,
  NVME_CMBSTS,
  NVME_CMBSZ,
  NVME_CMBSZ_SQS,
  NVME_CMBSZ_SZ_SHIFT,
} from '../../assembly/nvme/regs.ts';
import type { Controller } from '../machine/controller.ts';

const TWO_32 = 2 ** 32;
const PAGE_BYTES = 4096;

export class NvmeBuffer {
  readonly #board: Controller;
  #bar = 0;
  /** Its first byte in the BAR, and that byte's bus address. */
  #offset = 0;
  #start = 0;
  #end = 0;
  #next = 0;

  constructor(board: Controller) {
    this.#board = board;
  }

  /** Opens it at its BAR's own address, if there is one that takes submission queues. */
  open(): void {
    const board = this.#board;
    if ((board.read32(NVME_BAR, NVME_CAP_HIGH) & NVME_CAP_CMBS) === 0) return;
    board.write32(NVME_BAR, NVME_CMBMSC, NVME_CMBMSC_CRE);
    const size = board.read32(NVME_BAR, NVME_CMBSZ);
    if ((size & NVME_CMBSZ_SQS) === 0) return;
    const place = board.read32(NVME_BAR, NVME_CMBLOC);
    const unit = PAGE_BYTES * 16 ** ((size >>> 8) & 15);
    this.#bar = place & 7;
    this.#offset = (place >>> 12) * unit;
    const low = board.configRead(PCI_BAR0 + 4 * this.#bar, 4);
    const high = (low & PCI_BAR_64) !== 0 ? board.configRead(PCI_BAR0 + 4 * this.#bar + 4, 4) : 0;
    const start = high * TWO_32 + ((low & ~15) >>> 0) + this.#offset;
    board.write32(NVME_BAR, NVME_CMBMSC_HIGH, Math.floor(start / TWO_32));
    board.write32(NVME_BAR, NVME_CMBMSC, ((start >>> 0) | NVME_CMBMSC_CRE | NVME_CMBMSC_CMSE) >>> 0);
    if (board.read32(NVME_BAR, NVME_CMBSTS) !== 0) return;
    this.#start = start;
    this.#next = start;
    this.#end = start + (size >>> NVME_CMBSZ_SZ_SHIFT) * unit;
  }

  /** The bus address of `bytes` bytes at a page, 0 where there is no room. */
  take(bytes: number): number {
    const address = this.#next;
    if (address + bytes > this.#end) return 0;
    this.#next += Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    return address;
  }

  holds(address: number): boolean {
    return address >= this.#start && address < this.#end;
  }

  writeWords(address: number, words: Uint32Array): void {
    const at = address - this.#start + this.#offset;
    for (const [i, word] of words.entries()) this.#board.write32(this.#bar, at + 4 * i, word);
  }
}
