// One command slot of a driver (struct scsi_cmnd), made once and reused.

import type { CommandOp, CommandStatus, DriverCommand, SegmentList } from '../drivers/index.ts';
import { type Request, SCSI_SENSE_BUFFERSIZE } from './blkdev.ts';
import type { SgTable } from './scatterlist.ts';

/** What a request that wants the cache flushed is doing: flushing before, moving data, flushing behind. */
export type CommandStep = 'flush' | 'data' | 'flush-after';

const NO_CDB = new Uint8Array(0);

export class ScsiCommand implements DriverCommand {
  readonly tag: number;
  /** Name of its device. */
  readonly device: string;
  /** The request in the slot; null while it is free. */
  rq: Request | null = null;
  step: CommandStep = 'data';
  readonly table: SgTable;
  /** Entries and direction of the DMA mapping, while `mapped`. */
  nents = 0;
  dir = 0;
  mapped = false;
  /** The driver has called done(). */
  finished = false;
  timedOut = false;

  op: CommandOp = 'read';
  disk = 0;
  lba = 0;
  sectors = 0;
  /** The request's own, for `scsi`. */
  cdb: Uint8Array = NO_CDB;
  cdbLength = 0;
  direction: 'read' | 'write' | 'none' = 'none';
  readonly segments: SegmentList;
  fua = false;
  status: CommandStatus = 'ok';
  residual = 0;
  readonly sense = new Uint8Array(SCSI_SENSE_BUFFERSIZE);
  senseLength = 0;

  private readonly ended: (command: ScsiCommand, again: boolean) => void;

  constructor(
    tag: number,
    device: string,
    table: SgTable,
    ended: (command: ScsiCommand, again: boolean) => void,
  ) {
    this.tag = tag;
    this.device = device;
    this.table = table;
    this.ended = ended;
    this.segments = {
      count: 0,
      addresses: new Float64Array(table.orig_nents),
      lengths: new Uint32Array(table.orig_nents),
    };
  }

  /** For the next request. */
  begin(): void {
    this.step = 'data';
    this.finished = false;
    this.timedOut = false;
    this.lba = 0;
    this.sectors = 0;
    this.cdbLength = 0;
    this.direction = 'none';
    this.fua = false;
    this.status = 'ok';
    this.residual = 0;
    this.senseLength = 0;
  }

  done(): void {
    const again = this.finished;
    this.finished = true;
    this.ended(this, again);
  }
}
