// A task of the LSI driver as its program sees it: 2 KiB with what SELECT, the message, command and status phases need, the
// data pointer and the scatter list. The T_ and INT_ constants are those of firmware/lsi53c895a/*.ss; a test
// compares them.

import * as regs from '../../assembly/lsi53c895a/regs.ts';
import { SENSE_BYTES } from '../../assembly/scsi/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { DriverCommand, SegmentList } from './driver.ts';

export const T_SELECT = 0x00;
export const T_MESSAGE = 0x08;
export const T_COMMAND = 0x10;
export const T_STATUS = 0x18;
export const T_REPLY = 0x20;
export const T_REST = 0x28;
export const T_AFTER = 0x30;
export const T_SAVED = 0x34;
export const T_RESIDUE = 0x3c;
export const T_OWN = 0x48;
export const T_LIST = 0x100;
export const SEGMENTS = 224;
export const TASK_BYTES = T_LIST + 8 * SEGMENTS;

/** What the program leaves to the driver, and its own data in a task. */
const AT_CDB = 0x50;
const AT_MESSAGE = 0x60;
const AT_REPLY = 0x70;
const AT_STATUS = 0x78;
export const AT_PARAMETERS = 0x80;
export const AT_SENSE = 0xa0;

/** Bits of T_RESIDUE: data beyond the list; bytes that the target took back. */
export const RESIDUE_OVERRUN = 0x80;
export const RESIDUE_BYTES = 0x7f;

export const INT_PHASE = 1;
export const INT_NEGOTIATION = 2;
export const INT_REJECTED = 3;
export const INT_ODD = 4;
export const INT_FLUSHED = 5;
export const INT_CHECK = 6;
export const INT_HELLO = 7;

const COUNT = 0xffffff;
const TWO_32 = 2 ** 32;
const NO_STATUS = 0xff;

/** What a task is good for at the moment. */
export type TaskUse = 'free' | 'command' | 'sense' | 'abort' | 'abandoned';

/** A place for one task in memory, and what the driver knows of it. */
export class Task {
  readonly address: number;
  /** Its number; four times that is its tag. */
  readonly slot: number;
  readonly #memory: PhysMem;
  use: TaskUse = 'free';
  command: DriverCommand | null = null;
  target = 0;
  /** Where it is on the ring of tasks to start, in bytes. */
  place = 0;
  tagged = false;
  /** The target is asked for a transfer agreement with it. */
  negotiates: 'width' | 'speed' | null = null;
  writes = false;
  /** Bytes of its list. */
  bytes = 0;

  constructor(memory: PhysMem, address: number, slot: number) {
    this.#memory = memory;
    this.address = address;
    this.slot = slot;
    memory.write32(address + T_MESSAGE + 4, address + AT_MESSAGE);
    memory.write32(address + T_COMMAND + 4, address + AT_CDB);
    memory.write4x32(address + T_STATUS, 1, address + AT_STATUS, 1, address + AT_REPLY);
    // One more than the slot, so that none is 0.
    memory.write32(address + T_OWN, slot + 1);
    this.setReply([regs.MSG_NO_OPERATION]);
  }

  get tag(): number {
    return 4 * this.slot;
  }

  /** What SELECT loads: SXFER, id, SCNTL3. */
  setTarget(id: number, transfer: number, timing: number): void {
    this.target = id;
    this.#memory.write32(this.address + T_SELECT, (transfer << 8) | (id << 16) | (timing << 24));
  }

  /** IDENTIFY, the tag if it has one, and `more`. */
  setMessage(mayDisconnect: boolean, more: readonly number[]): void {
    const at = this.address + AT_MESSAGE;
    const identify = regs.MSG_IDENTIFY | (mayDisconnect ? regs.MSG_IDENTIFY_DISCONNECT : 0);
    this.#memory.write32(at, identify | (regs.MSG_SIMPLE_TAG << 8) | (this.tag << 16));
    const length = this.tagged ? 3 : 1;
    for (let i = 0; i < more.length; i++) this.#memory.write8(at + length + i, more[i] as number);
    this.#memory.write32(this.address + T_MESSAGE, length + more.length);
  }

  /** What the target is told when it asks for more messages. */
  setReply(bytes: readonly number[]): void {
    for (let i = 0; i < bytes.length; i++)
      this.#memory.write8(this.address + AT_REPLY + i, bytes[i] as number);
    this.#memory.write32(this.address + T_REPLY, bytes.length);
  }

  setCdb(cdb: Uint8Array, length: number): void {
    const word = (i: number): number =>
      (cdb[i] as number) |
      ((cdb[i + 1] as number) << 8) |
      ((cdb[i + 2] as number) << 16) |
      ((cdb[i + 3] as number) << 24);
    this.#memory.write32(this.address + T_COMMAND, length);
    this.#memory.write4x32(this.address + AT_CDB, word(0), word(4), word(8), word(12));
    this.#memory.write8(this.address + AT_STATUS, NO_STATUS);
    this.#memory.write8(this.address + T_RESIDUE, 0);
  }

  /** Writes the list so that it ends where the program's moves do. */
  setList({ count, addresses, lengths }: SegmentList): void {
    const memory = this.#memory;
    let at = this.address + T_LIST + 8 * (SEGMENTS - count);
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const address = addresses[i] as number;
      const length = lengths[i] as number;
      memory.write32(at, length | (Math.floor(address / TWO_32) << 24));
      memory.write32(at + 4, address >>> 0);
      bytes += length;
      at += 8;
    }
    this.bytes = bytes;
  }

  setPiece(address: number, bytes: number): void {
    const at = this.address + T_LIST + 8 * (SEGMENTS - 1);
    this.#memory.write32(at, bytes);
    this.#memory.write32(at + 4, address);
    this.bytes = bytes;
  }

  /** The status byte. */
  get status(): number {
    return this.#memory.read8(this.address + AT_STATUS);
  }

  /** Bytes of the moves from the `index`th of all on. */
  bytesFrom(index: number): number {
    let bytes = 0;
    for (let i = index; i < SEGMENTS; i++)
      bytes += this.#memory.read32(this.address + T_LIST + 8 * i) & COUNT;
    return bytes;
  }

  copySense(to: Uint8Array): void {
    this.#memory.readInto(this.address + AT_SENSE, to, 0, SENSE_BYTES);
  }
}
