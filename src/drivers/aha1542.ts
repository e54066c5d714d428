// Driver of the Adaptec AHA-1542 family. Commands go to the board through mailboxes: an out mailbox points to
// a CCB, START SCSI has the board look, an in mailbox brings the CCB back. All of these, and all data, must lie
// below 16 MiB.
//
// [1] AHA-1540B/1542B Technical Reference Manual
// [2] AHA-1540CP Technical Reference Manual: extended BIOS and the mailbox lock

import {
  BOARD_1542C,
  CCB_AT_CDB,
  CCB_AT_HOST_STATUS,
  CCB_AT_TARGET_STATUS,
  CCB_DIRECTION_SHIFT,
  CCB_TARGET_SHIFT,
  CMD_EXTENDED_BIOS,
  CMD_INQUIRY,
  CMD_MAILBOX_ENABLE,
  CMD_MAILBOX_INIT,
  CMD_START_SCSI,
  CONTROL_HRST,
  CONTROL_IRST,
  DIRECTION_ANY,
  DIRECTION_IN,
  DIRECTION_OUT,
  HOST_BUS_FREE,
  HOST_OK,
  HOST_OVERRUN,
  HOST_SELECTION_TIMEOUT,
  INTERRUPT_ANY,
  INTERRUPT_HACC,
  INTERRUPT_SCRD,
  MAILBOX_BYTES,
  MBI_ABORTED,
  MBI_NOT_FOUND,
  MBI_SUCCESS,
  MBO_ABORT,
  MBO_START,
  OPCODE_INITIATOR_RESIDUAL,
  OPCODE_SCATTER_RESIDUAL,
  PORT_COMMAND,
  PORT_CONTROL,
  PORT_DATA,
  PORT_INTERRUPT,
  PORT_STATUS,
  SEGMENT_BYTES,
  SEGMENTS_MAX,
  STATUS_CDF,
  STATUS_DF,
  STATUS_DIAGF,
  STATUS_IDLE,
  STATUS_INIT,
  STATUS_INVDCMD,
  STATUS_STST,
  TARGETS,
} from '../../assembly/aha1542/regs.ts';
import { SENSE_BYTES, STATUS_CHECK_CONDITION, STATUS_GOOD } from '../../assembly/scsi/regs.ts';
import type { Controller } from '../machine/controller.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { CommandStatus, Driver, DriverCommand, DriverDisk, DriverHost, DriverLimits } from './driver.ts';
import * as scsi from './scsi.ts';
import { type Polled, scanDisk, waitReady } from './scsi-scan.ts';

const ADDRESS_BITS = 24;
const QUEUE_DEPTH = 16;
/** Enough that an abort finds one while every CCB is on its way. */
const MAILBOXES = 32;
/** A CCB with its sense data, then its scatter-gather list, then the parameter list of an UNMAP. */
const SLOT_BYTES = 256;
const SLOT_SHIFT = 8;
const LIST_AT = 0x80;
const UNMAP_AT = 0xe8;

/** The self-test takes a second or two on a slow board; commands at the port are quick. */
const SELF_TEST_NS = 10e9;
const PORT_NS = 1e9;
const COMMAND_NS = 30e9;
/** Rounds of one interrupt, each with all the mail that was there. */
const INTERRUPT_ROUNDS = 64;

/** Detects the board, sets up its mailboxes and looks for disks. Throws Aha1542Error where that fails. */
export function attachAha1542(host: DriverHost): Driver {
  const driver = new Aha1542Driver(host);
  driver.attach();
  return driver;
}

export class Aha1542Error extends Error {
  override name = 'Aha1542Error';
}

interface Found extends DriverDisk {
  readonly target: number;
}

class Aha1542Driver implements Driver {
  readonly name = 'aha1542';
  readonly limits: DriverLimits = {
    addressBits: ADDRESS_BITS,
    maxSegments: SEGMENTS_MAX,
    maxSegmentBytes: 0xffffff,
    boundaryMask: 0xffffffff,
    virtBoundaryMask: 0,
    alignmentMask: 0,
    maxSectors: 65535,
    queueDepth: QUEUE_DEPTH,
  };
  readonly disks: Found[] = [];
  readonly #host: DriverHost;
  readonly #board: Controller;
  readonly #memory: PhysMem;
  readonly #mailboxes: number;
  readonly #ccbs: number;
  readonly #open: (DriverCommand | null)[] = new Array(QUEUE_DEPTH).fill(null);
  readonly #free = Uint8Array.from({ length: QUEUE_DEPTH }, (_, slot) => slot);
  #freeCount = QUEUE_DEPTH;
  #nextOut = 0;
  #nextIn = 0;
  #posted = false;
  /** Status port at the end of the last command at the port, −1: it is not over yet. */
  #completedWith = -1;
  readonly #cdb = new Uint8Array(16);
  readonly #list = new Uint8Array(scsi.UNMAP_LIST_BYTES);

  constructor(host: DriverHost) {
    this.#host = host;
    this.#board = host.controller;
    this.#memory = host.memory;
    this.#mailboxes = host.dma.alloc(2 * MAILBOXES * MAILBOX_BYTES, 4, ADDRESS_BITS);
    this.#ccbs = host.dma.alloc(QUEUE_DEPTH * SLOT_BYTES, SLOT_BYTES, ADDRESS_BITS);
  }

  attach(): void {
    try {
      this.#start();
      this.#scan();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  // The way of a command.

  submit(command: DriverCommand): boolean {
    const disk = this.disks[command.disk];
    if (disk === undefined) throw new Aha1542Error(`there is no disk ${command.disk}`);
    return this.#submitTo(disk.target, command);
  }

  kick(): void {
    if (!this.#posted) return;
    this.#posted = false;
    this.#board.write8(0, PORT_COMMAND, CMD_START_SCSI);
  }

  interrupt(): boolean {
    let handled = false;
    for (let round = 0; round < INTERRUPT_ROUNDS; round++) {
      const flags = this.#board.read8(0, PORT_INTERRUPT);
      if ((flags & INTERRUPT_ANY) === 0) break;
      handled = true;
      if ((flags & INTERRUPT_HACC) !== 0) this.#completedWith = this.#board.read8(0, PORT_STATUS);
      // First the flags, then the mail: what comes in between raises the line again.
      this.#board.write8(0, PORT_CONTROL, CONTROL_IRST);
      this.#takeMail();
      if ((flags & INTERRUPT_SCRD) !== 0) this.#endAll();
    }
    return handled;
  }

  abort(command: DriverCommand): void {
    const slot = this.#open.indexOf(command);
    if (slot < 0) return;
    if (!this.#post(slot, MBO_ABORT)) throw new Aha1542Error('no out mailbox is free for an abort');
    this.kick();
  }

  reset(): void {
    this.#start();
    this.#endAll();
    for (const disk of this.disks) waitReady((ask) => this.#poll(disk.target, ask));
  }

  detach(): void {
    this.#board.write8(0, PORT_CONTROL, CONTROL_HRST);
    this.#endAll();
    this.#release();
  }

  #release(): void {
    this.#host.dma.free(this.#ccbs, QUEUE_DEPTH * SLOT_BYTES);
    this.#host.dma.free(this.#mailboxes, 2 * MAILBOXES * MAILBOX_BYTES);
  }

  #submitTo(target: number, command: DriverCommand): boolean {
    if (this.#freeCount === 0) return false;
    const slot = this.#free[this.#freeCount - 1] as number;
    if (!this.#mailboxIsFree()) return false;
    this.#freeCount--;
    this.#open[slot] = command;
    this.#writeCcb(slot, target, command);
    return this.#post(slot, MBO_START);
  }

  /** [1] 2.2: eighteen bytes, then the descriptor block, as words. */
  #writeCcb(slot: number, target: number, command: DriverCommand): void {
    const { segments } = command;
    const at = this.#ccbs + (slot << SLOT_SHIFT);
    const length = this.#buildCdb(command);
    const cdb = command.op === 'scsi' ? command.cdb : this.#cdb;
    let opcode = OPCODE_INITIATOR_RESIDUAL;
    let direction = DIRECTION_ANY;
    let bytes = 0;
    let pointer = 0;
    if (command.op === 'discard') {
      this.#memory.writeBytes(at + UNMAP_AT, this.#list);
      direction = DIRECTION_OUT;
      bytes = scsi.UNMAP_LIST_BYTES;
      pointer = at + UNMAP_AT;
    } else if (segments.count > 0 && command.op !== 'flush') {
      direction = isWrite(command) ? DIRECTION_OUT : DIRECTION_IN;
      if (segments.count === 1) {
        bytes = segments.lengths[0] as number;
        pointer = segments.addresses[0] as number;
      } else {
        opcode = OPCODE_SCATTER_RESIDUAL;
        bytes = segments.count * SEGMENT_BYTES;
        pointer = at + LIST_AT;
        this.#writeList(pointer, command);
      }
    }
    const address = (target << CCB_TARGET_SHIFT) | (direction << CCB_DIRECTION_SHIFT);
    this.#memory.write32(at, opcode | (address << 8) | (length << 16) | (SENSE_BYTES << 24));
    this.#memory.write32(at + 4, swap24(bytes) | ((pointer << 8) & 0xff000000));
    this.#memory.write32(at + 8, ((pointer >>> 8) & 0xff) | ((pointer & 0xff) << 8));
    this.#memory.write32(at + 12, 0);
    this.#memory.write32(at + 16, ((cdb[0] as number) << 16) | ((cdb[1] as number) << 24));
    for (let i = 2; i < length; i += 4) {
      const low = (cdb[i] as number) | ((cdb[i + 1] as number) << 8);
      this.#memory.write32(
        at + CCB_AT_CDB + i,
        low | ((cdb[i + 2] as number) << 16) | ((cdb[i + 3] as number) << 24),
      );
    }
  }

  #buildCdb(command: DriverCommand): number {
    switch (command.op) {
      case 'read':
        return scsi.buildTransfer(this.#cdb, false, command.lba, command.sectors, command.fua);
      case 'write':
        return scsi.buildTransfer(this.#cdb, true, command.lba, command.sectors, command.fua);
      case 'flush':
        return scsi.buildFlush(this.#cdb);
      case 'discard':
        scsi.fillUnmapList(this.#list, command.lba, command.sectors);
        return scsi.buildUnmap(this.#cdb);
      case 'scsi':
        return command.cdbLength;
    }
  }

  /** Segments of three bytes length, three bytes address: as 16-bit words, since they lie at odd dwords. */
  #writeList(list: number, command: DriverCommand): void {
    const { count, addresses, lengths } = command.segments;
    for (let i = 0; i < count; i++) {
      const at = list + i * SEGMENT_BYTES;
      const bytes = lengths[i] as number;
      const address = addresses[i] as number;
      this.#memory.write16(at, ((bytes >>> 16) & 0xff) | (bytes & 0xff00));
      this.#memory.write16(at + 2, (bytes & 0xff) | ((address >>> 8) & 0xff00));
      this.#memory.write16(at + 4, ((address >>> 8) & 0xff) | ((address & 0xff) << 8));
    }
  }

  #mailboxIsFree(): boolean {
    return this.#memory.read8(this.#mailboxes + this.#nextOut * MAILBOX_BYTES) === 0;
  }

  /** Puts a slot's CCB into the next out mailbox, in one store: the board may be looking. */
  #post(slot: number, action: number): boolean {
    if (!this.#mailboxIsFree()) return false;
    const at = this.#mailboxes + this.#nextOut * MAILBOX_BYTES;
    this.#memory.write32(at, action | (swap24(this.#ccbs + (slot << SLOT_SHIFT)) << 8));
    this.#nextOut = this.#nextOut + 1 === MAILBOXES ? 0 : this.#nextOut + 1;
    this.#posted = true;
    return true;
  }

  /** Empties the in mailboxes in the order in which the board fills them. */
  #takeMail(): void {
    for (let taken = 0; taken < MAILBOXES * INTERRUPT_ROUNDS; taken++) {
      const at = this.#mailboxes + (MAILBOXES + this.#nextIn) * MAILBOX_BYTES;
      const word = this.#memory.read32(at);
      const mail = word & 0xff;
      if (mail === 0) return;
      this.#memory.write8(at, 0);
      this.#nextIn = this.#nextIn + 1 === MAILBOXES ? 0 : this.#nextIn + 1;
      // An abort that came too late: the CCB's own mail came before.
      if (mail !== MBI_NOT_FOUND) this.#finish((swap24(word >>> 8) - this.#ccbs) >> SLOT_SHIFT, mail);
    }
  }

  #finish(slot: number, mail: number): void {
    const command = this.#open[slot];
    if (command === undefined || command === null) return;
    const at = this.#ccbs + (slot << SLOT_SHIFT);
    command.senseLength = 0;
    command.residual = swap24(this.#memory.read32(at + 4) & 0xffffff);
    if (mail === MBI_SUCCESS) command.status = 'ok';
    else if (mail === MBI_ABORTED) command.status = 'aborted';
    else command.status = this.#errorOf(at, command);
    this.#open[slot] = null;
    this.#free[this.#freeCount++] = slot;
    command.done(command);
  }

  #errorOf(ccb: number, command: DriverCommand): CommandStatus {
    const host = this.#memory.read8(ccb + CCB_AT_HOST_STATUS);
    const target = this.#memory.read8(ccb + CCB_AT_TARGET_STATUS);
    if (host === HOST_SELECTION_TIMEOUT) return 'no-device';
    if (host === HOST_BUS_FREE) return 'device-error';
    // An underrun that leaves a residual is no error of the transport: the target had no more.
    if (host === HOST_OVERRUN && target === STATUS_GOOD && command.residual > 0) return 'ok';
    if (host !== HOST_OK) return 'transport-error';
    if (target !== STATUS_CHECK_CONDITION) return 'busy';
    const length = this.#memory.read8(ccb + 2);
    this.#memory.readInto(ccb + CCB_AT_CDB + length, command.sense, 0, SENSE_BYTES);
    command.senseLength = SENSE_BYTES;
    return 'check-condition';
  }

  /** A reset: the board has forgotten every CCB. */
  #endAll(): void {
    for (let slot = 0; slot < QUEUE_DEPTH; slot++) {
      const command = this.#open[slot];
      if (command === undefined || command === null) continue;
      this.#open[slot] = null;
      this.#free[this.#freeCount++] = slot;
      command.status = 'aborted';
      command.residual = 0;
      command.senseLength = 0;
      command.done(command);
    }
  }

  // Setting up.

  /** Resets the board and tells it where the mailboxes are. */
  #start(): void {
    this.#board.write8(0, PORT_CONTROL, CONTROL_HRST);
    const bad = STATUS_STST | STATUS_DIAGF | STATUS_INVDCMD | STATUS_DF | STATUS_CDF;
    const good = STATUS_INIT | STATUS_IDLE;
    const ready = this.#host.waitUntil(
      () => (this.#board.read8(0, PORT_STATUS) & (bad | good)) === good,
      SELF_TEST_NS,
    );
    if (!ready) throw new Aha1542Error('the board does not become ready after a hard reset');
    const id = this.#command([CMD_INQUIRY], 4);
    if ((id[0] as number) >= BOARD_1542C) this.#unlock();
    this.#memory.fill(this.#mailboxes, 0, 2 * MAILBOXES * MAILBOX_BYTES);
    this.#nextOut = 0;
    this.#nextIn = 0;
    this.#posted = false;
    const address = this.#mailboxes;
    this.#command([
      CMD_MAILBOX_INIT,
      MAILBOXES,
      (address >>> 16) & 0xff,
      (address >>> 8) & 0xff,
      address & 0xff,
    ]);
  }

  /** [2]: a board with extended BIOS keeps its mailboxes locked until it gets its code back. */
  #unlock(): void {
    const [, code = 0] = this.#command([CMD_EXTENDED_BIOS], 2);
    if (code !== 0) this.#command([CMD_MAILBOX_ENABLE, 0, code]);
  }

  /** A command at the port, polled, with `answer` bytes in return. */
  #command(bytes: readonly number[], answer = 0): Uint8Array {
    const reply = new Uint8Array(answer);
    this.#completedWith = -1;
    for (const byte of bytes) {
      this.#waitStatus(STATUS_CDF, 0);
      this.#board.write8(0, PORT_COMMAND, byte);
    }
    for (let i = 0; i < answer; i++) {
      this.#waitStatus(STATUS_DF, STATUS_DF);
      reply[i] = this.#board.read8(0, PORT_DATA);
    }
    const isComplete = (): boolean => {
      this.interrupt();
      return this.#completedWith >= 0;
    };
    const complete = this.#host.waitUntil(isComplete, PORT_NS);
    if (!complete || (this.#completedWith & STATUS_INVDCMD) !== 0) {
      throw new Aha1542Error(`the board refuses command ${hex(bytes[0] ?? 0)}`);
    }
    return reply;
  }

  #waitStatus(mask: number, value: number): void {
    const isReached = (): boolean => (this.#board.read8(0, PORT_STATUS) & mask) === value;
    if (!isReached() && !this.#host.waitUntil(isReached, PORT_NS)) {
      throw new Aha1542Error(`the status port stays at ${hex(this.#board.read8(0, PORT_STATUS))}`);
    }
  }

  #scan(): void {
    const buffer = this.#host.dma.alloc(scsi.SCAN_BYTES, 4, ADDRESS_BITS);
    try {
      for (let target = 0; target < TARGETS; target++) {
        const disk = scanDisk(this.#memory, buffer, (ask) => this.#poll(target, ask));
        if (disk !== undefined) this.disks.push({ ...disk, target });
      }
    } finally {
      this.#host.dma.free(buffer, scsi.SCAN_BYTES);
    }
  }

  /** Runs one command to its end without an interrupt handler; whether it went well. */
  #poll(target: number, ask: Polled): boolean {
    if (!this.#submitTo(target, ask)) return false;
    this.kick();
    const isOver = (): boolean => {
      this.interrupt();
      return ask.over;
    };
    if (!this.#host.waitUntil(isOver, COMMAND_NS)) throw new Aha1542Error(`target ${target} does not answer`);
    return ask.status === 'ok';
  }
}

function isWrite(command: DriverCommand): boolean {
  return command.op === 'write' || (command.op === 'scsi' && command.direction === 'write');
}

/** Three bytes in the other order. */
function swap24(value: number): number {
  return ((value & 0xff) << 16) | (value & 0xff00) | ((value >>> 16) & 0xff);
}

function hex(value: number): string {
  return `${value.toString(16).padStart(2, '0')}h`;
}
