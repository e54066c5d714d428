// How a SCSI driver finds out what is at an address: commands of its own, one at a time, polled.

import { CACHING_WCE, SENSE_BYTES } from '../../assembly/scsi/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { CommandStatus, DriverCommand, DriverDisk } from './driver.ts';
import * as scsi from './scsi.ts';

/** A unit attention for the power on, one for the reset of the bus. */
const READY_TRIES = 4;

/** A command of the driver's own, into one buffer. */
export class Polled implements DriverCommand {
  readonly op = 'scsi';
  readonly disk = 0;
  readonly lba = 0;
  readonly sectors = 0;
  readonly cdb = new Uint8Array(16);
  cdbLength = 0;
  direction: 'read' | 'none' = 'none';
  readonly segments = { count: 0, addresses: new Float64Array(1), lengths: new Uint32Array(1) };
  readonly fua = false;
  status: CommandStatus = 'ok';
  residual = 0;
  readonly sense = new Uint8Array(SENSE_BYTES);
  senseLength = 0;
  over = false;

  constructor(buffer: number) {
    this.segments.addresses[0] = buffer;
  }

  prepare(cdbLength: number, bytes: number): void {
    this.cdbLength = cdbLength;
    this.segments.lengths[0] = bytes;
    this.segments.count = bytes > 0 ? 1 : 0;
    this.direction = bytes > 0 ? 'read' : 'none';
    this.over = false;
  }

  done(): void {
    this.over = true;
  }
}

/** Runs a command to its end without an interrupt handler; whether it went well. */
export type Poll = (command: Polled) => boolean;

/** What a scan finds. */
export interface ScannedDisk extends DriverDisk {
  /** Whether it takes tagged commands. */
  readonly queues: boolean;
}

/** Asks an address what it is; undefined where no disk is. `buffer`: SCAN_BYTES that the device reaches. */
export function scanDisk(memory: PhysMem, buffer: number, poll: Poll): ScannedDisk | undefined {
  const ask = new Polled(buffer);
  const run = (cdbLength: number, bytes: number): boolean => {
    ask.prepare(cdbLength, bytes);
    return poll(ask);
  };
  const data = (bytes: number): Uint8Array => memory.readBytes(buffer, bytes);
  if (!run(scsi.buildInquiry(ask.cdb), scsi.SCAN_BYTES)) return undefined;
  const inquiry = scsi.parseInquiry(data(scsi.SCAN_BYTES));
  if (inquiry.type !== 0 || !waitReady(poll)) return undefined;
  if (!run(scsi.buildReadCapacity10(ask.cdb), 8)) return undefined;
  let capacity = scsi.parseCapacity10(data(8));
  if (capacity.sectors > 0xffffffff) {
    if (!run(scsi.buildReadCapacity16(ask.cdb), 32)) return undefined;
    capacity = scsi.parseCapacity16(data(32));
  }
  const hasSerial = run(scsi.buildSerialInquiry(ask.cdb), scsi.SCAN_BYTES);
  const serial = hasSerial ? scsi.parseSerial(data(scsi.SCAN_BYTES)) : '';
  const hasCache = run(scsi.buildCachingSense(ask.cdb), scsi.SCAN_BYTES);
  const caching = hasCache ? scsi.parseCaching(data(scsi.SCAN_BYTES)) : 0;
  const writeCache = (caching & CACHING_WCE) !== 0;
  return { ...capacity, model: inquiry.model, serial, writeCache, queues: inquiry.queues };
}

/** TEST UNIT READY until the unit attentions of power on and reset are through. */
export function waitReady(poll: Poll): boolean {
  const ask = new Polled(0);
  for (let i = 0; i < READY_TRIES; i++) {
    ask.cdb.fill(0);
    ask.prepare(6, 0);
    if (poll(ask)) return true;
  }
  return false;
}
