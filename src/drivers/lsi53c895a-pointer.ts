// Where a task of the LSI driver is in its data: the program's data pointer read as bytes, and the phase mismatches that
// the program leaves to the driver.
//
// [1] LSI53C895A Technical Manual, 2.2.16 to 2.2.18 and 4.4

import * as regs from '../../assembly/lsi53c895a/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { LsiChip } from './lsi53c895a-chip.ts';
import type { Task } from './lsi53c895a-task.ts';
import * as fields from './lsi53c895a-task.ts';

const COUNT = 0xffffff;
/** SCRATCHB2: what the program moves that is no move of the list. */
const PART = regs.LSI_SCRATCHB + 2;
/** Either of the two data phases less the other. */
const OTHER_WAY = regs.LSI_PHASE_DATA_IN + regs.LSI_PHASE_DATA_OUT;
const PART_REST = 1;
const PART_OVERRUN = 2;

export class LsiPointer {
  readonly #chip: LsiChip;
  readonly #memory: PhysMem;
  // Labels of the program.
  #listIn = 0;
  #listOut = 0;
  #overrun = 0;
  /** What is left of a move that half a word is in the way of. */
  #half = { address: 0, bytes: 0, high: 0 };

  constructor(chip: LsiChip, memory: PhysMem) {
    this.#chip = chip;
    this.#memory = memory;
  }

  /** The program is where it runs. */
  bind(): void {
    this.#listIn = this.#chip.at('list_in');
    this.#listOut = this.#chip.at('list_out');
    this.#overrun = this.#chip.at('overrun');
  }

  /** Lets a task begin with the first of `count` moves. */
  begin(task: Task, count: number): void {
    const list = task.writes ? this.#listOut : this.#listIn;
    const entry = count === 0 ? this.#overrun : list + 8 * (fields.SEGMENTS - count);
    this.#memory.write32(task.address + fields.T_SAVED, entry);
  }

  /** Bytes behind the pointer of a task that ended; `block` is where its fields are. */
  left(task: Task, block: number): number {
    const pointer = this.#memory.read32(block + fields.T_SAVED);
    if (pointer === this.#overrun) return 0;
    const index = this.#indexOf(pointer, task);
    if (index >= 0) return task.bytesFrom(index);
    const after = this.#indexOf(this.#memory.read32(block + fields.T_AFTER), task);
    const rest = this.#memory.read32(block + fields.T_REST) & COUNT;
    return rest + task.bytesFrom(Math.max(after, 0));
  }

  /** All further data goes nowhere. */
  giveUp(): void {
    this.#chip.write8(PART, 0);
    this.#chip.write32(regs.LSI_TEMP, this.#overrun);
  }

  /**
   * A chip without jumps stopped in a block move: what is left of it is in DBC, and in the chip's FIFOs. False: the
   * target moves data the other way.
   */
  cutShort(task: Task | undefined, block: number): boolean {
    const chip = this.#chip;
    const word = chip.read32(regs.LSI_DBC);
    const phase = (word >>> 24) & 7;
    const inData = phase === regs.LSI_PHASE_DATA_IN || phase === regs.LSI_PHASE_DATA_OUT;
    const part = chip.read8(PART);
    const wanted = chip.read8(regs.LSI_SBCL) & 7;
    if (inData && wanted === OTHER_WAY - phase) return false;
    if (!inData || task === undefined || part === PART_OVERRUN) {
      if (inData) chip.write8(PART, 0);
      chip.run('dispatch');
      return true;
    }
    let left = word & COUNT;
    if (phase === regs.LSI_PHASE_DATA_OUT) left += this.#inFifo(word);
    chip.write8(regs.LSI_CTEST3, regs.LSI_CTEST3_CLF);
    chip.write8(regs.LSI_STEST3, regs.LSI_STEST3_TE | regs.LSI_STEST3_CSF);
    const next = chip.read32(regs.LSI_DSP);
    const index = this.#indexOf(next - 8, task);
    const isRest = part === PART_REST || index < 0;
    const entry = isRest ? block + fields.T_REST : task.address + fields.T_LIST + 8 * index;
    const first = this.#memory.read32(entry);
    const address = this.#memory.read32(entry + 4) + (first & COUNT) - left;
    if (!isRest) this.#memory.write32(block + fields.T_AFTER, next);
    this.#setRest(block, address, left, first >>> 24);
    this.#resume(phase === regs.LSI_PHASE_DATA_IN);
    return true;
  }

  /**
   * A move was cut short while a byte of the one before it waits in the chip for its other half. False: it cannot
   * be said where that byte belongs.
   */
  oddByte(task: Task, block: number): boolean {
    const chip = this.#chip;
    const move = chip.read32(regs.LSI_IA);
    const index = this.#indexOf(move, task);
    if (task.writes) {
      // The byte goes out again, as the rest of the move before.
      if (index < 1) return false;
      const entry = task.address + fields.T_LIST + 8 * (index - 1);
      const first = this.#memory.read32(entry);
      const address = this.#memory.read32(entry + 4) + (first & COUNT) - 1;
      chip.write8(regs.LSI_SCNTL2, chip.read8(regs.LSI_SCNTL2) | regs.LSI_SCNTL2_WSS);
      this.#memory.write32(block + fields.T_AFTER, move);
      this.#setRest(block, address, 1, first >>> 24);
      this.#resume(false);
      return true;
    }
    // The byte goes to where this move would have put it.
    const left = chip.read32(regs.LSI_RBC);
    this.#half = { address: chip.read32(regs.LSI_UA), bytes: left & COUNT, high: left >>> 24 };
    if (chip.read8(PART) !== PART_REST) this.#memory.write32(block + fields.T_AFTER, move + 8);
    this.#setRest(block, this.#half.address, 1, this.#half.high);
    chip.run('half');
    return true;
  }

  /** The half word is in memory: the move goes on behind it. */
  flushed(block: number): void {
    const { address, bytes, high } = this.#half;
    if (bytes > 1) {
      this.#setRest(block, address + 1, bytes - 1, high);
      this.#resume(true);
      return;
    }
    this.#chip.write8(PART, 0);
    this.#chip.write32(regs.LSI_TEMP, this.#memory.read32(block + fields.T_AFTER));
    this.#chip.run('dispatch');
  }

  /** Which move of its list an address in the program is, −1: none. */
  #indexOf(address: number, task: Task): number {
    const index = (address - (task.writes ? this.#listOut : this.#listIn)) / 8;
    return Number.isInteger(index) && index >= 0 && index <= fields.SEGMENTS ? index : -1;
  }

  /** Bytes that have left memory, and not the chip. */
  #inFifo(word: number): number {
    const chip = this.#chip;
    const status = chip.read8(regs.LSI_SSTAT0);
    let bytes = (chip.read8(regs.LSI_DFIFO) - word) & 0x7f;
    if ((status & regs.LSI_SSTAT0_OLF) !== 0) bytes++;
    if ((status & regs.LSI_SSTAT0_ORF) !== 0) bytes++;
    return bytes;
  }

  #setRest(block: number, address: number, bytes: number, high: number): void {
    this.#memory.write32(block + fields.T_REST, bytes | (high << 24));
    this.#memory.write32(block + fields.T_REST + 4, address);
  }

  /** On with the rest of a move when the target asks for it. */
  #resume(isIn: boolean): void {
    this.#chip.write8(PART, 0);
    this.#chip.write32(regs.LSI_TEMP, this.#chip.at(isIn ? 'rest_in' : 'rest_out'));
    this.#chip.run('dispatch');
  }
}
