// Disks of the disk driver and their transfers. The functions are in blkdev.ts and the files beside it.

import type { NumberedCommand } from '../drivers/host.ts';
import type {
  CommandOp,
  CommandStatus,
  Driver,
  DriverDisk,
  DriverHost,
  SegmentList,
} from '../drivers/index.ts';
import { type SpinLock, Timer, type WorkQueue } from '../kernel/index.ts';
import type { DdiAccHandle } from './acc.ts';
import type { TransferRules } from './blkdev-attr.ts';
import type { Buf } from './buf-struct.ts';
import type { DevInfo } from './dev-info.ts';
import type { DdiDmaHandle } from './dma-struct.ts';
import type { DdiIntrHandle } from './intr.ts';
import type { Pointer } from './pointer.ts';

export interface BdOptions {
  /** Attaches the driver; default: the one for the controller's kind. */
  readonly attach?: (host: DriverHost) => Driver;
  /**
   * False: a driver's mistake, on purpose. The DMA attributes claim everything, and addresses are cut to what the
   * hardware's descriptors hold.
   */
  readonly bounce?: boolean;
  /** Virtual ns until a command times out; 0: never. Default 30 s. */
  readonly timeoutNs?: number;
}

/** First in, first out, through the transfers' own links. */
export class XferList {
  first: BdXfer | null = null;
  private last: BdXfer | null = null;

  push(xfer: BdXfer): void {
    xfer.next = null;
    if (this.last === null || this.first === null) this.first = xfer;
    else this.last.next = xfer;
    this.last = xfer;
  }

  unshift(xfer: BdXfer): void {
    if (this.first === null) this.last = xfer;
    xfer.next = this.first;
    this.first = xfer;
  }

  shift(): BdXfer | null {
    const { first } = this;
    if (first === null) return null;
    this.first = first.next;
    first.next = null;
    return first;
  }
}

/** A controller with its driver and disks. */
export interface BdHost {
  readonly driver: Driver;
  readonly dip: DevInfo;
  readonly disks: readonly BdDisk[];
}

/** BdHost as the driver keeps it. */
export interface Host extends BdHost {
  readonly disks: BdDisk[];
  readonly bounces: boolean;
  readonly timeoutNs: number;
  /** What findings call the place. */
  readonly where: string;
  /** Held while the queues are looked at and the hardware is given commands. */
  readonly lock: SpinLock;
  /** Commands that are with the hardware. */
  active: number;
  /** The disk whose turn it is. */
  turn: number;
  /** Commands that the hardware has given back. */
  readonly ended: XferList;
  /** Somebody is at it. */
  settling: boolean;
  /** For commands that were refused while the hardware had nothing to do. */
  readonly retry: Timer;
  /** Does what strategy may not: sleep. */
  readonly thread: WorkQueue;
  readonly irqs: DdiIntrHandle[];
}

/** A disk (bd_t). */
export class BdDisk {
  readonly name: string;
  /** What b_edev says of a buf for it. */
  readonly dev: number;
  readonly host: Host;
  /** The driver's number of it. */
  readonly index: number;
  readonly rules: TransferRules;
  readonly about: DriverDisk;
  /** Transfers that wait for the hardware, and those that are not in use. */
  readonly waiting = new XferList();
  readonly free = new XferList();
  /** Transfers that were made; each is in use or free. */
  made = 0;
  /** Transfers in use, and bufs that wait for one. */
  busy = 0;

  constructor(name: string, dev: number, host: Host, index: number, about: DriverDisk, rules: TransferRules) {
    this.name = name;
    this.dev = dev;
    this.host = host;
    this.index = index;
    this.about = about;
    this.rules = rules;
  }

  /** Its node as a block device; `,raw` behind it is the character device. */
  get path(): string {
    return `/devices/${this.host.dip.driver}@${this.host.dip.instance}:d${this.index}`;
  }

  get bytes(): number {
    return this.about.sectors * this.about.sectorBytes;
  }
}

const NO_CDB = new Uint8Array(0);
const SENSE_BYTES = 96;

/** One transfer, and the command for the window of it that is under way (bd_xfer_t). Made once and used again. */
export class BdXfer implements NumberedCommand {
  readonly tag: number;
  readonly device: string;
  readonly owner: BdDisk;
  readonly handle: DdiDmaHandle;
  next: BdXfer | null = null;
  /** Null while it is not in use. */
  bp: Buf | null = null;
  /** Bytes of the current window and of those behind it. */
  remaining = 0;
  /** Bytes, and number, of the current window; how many there are. */
  bytes = 0;
  window = 0;
  windows = 1;
  /** The copy that stands for a buf which the hardware cannot use; null: the buf itself is bound. */
  copy: Pointer<DdiAccHandle> | null = null;
  /** Address of the copy, and bytes that it has room for. */
  copyAddr = 0;
  copyBytes = 0;
  /** Where the buf was before bp_mapin(), if this transfer called it; else -1. */
  mappedFrom = -1;
  retries = 0;
  /** The driver has it. */
  open = false;
  timedOut = false;
  readonly timer: Timer;

  op: CommandOp = 'read';
  readonly disk: number;
  lba = 0;
  sectors = 0;
  readonly cdb = NO_CDB;
  readonly cdbLength = 0;
  direction: 'read' | 'write' | 'none' = 'none';
  readonly segments: SegmentList;
  readonly fua = false;
  status: CommandStatus = 'ok';
  residual = 0;
  readonly sense = new Uint8Array(SENSE_BYTES);
  senseLength = 0;
  private readonly ended: (xfer: BdXfer) => void;

  constructor(
    tag: number,
    owner: BdDisk,
    handle: DdiDmaHandle,
    calls: { readonly ended: (xfer: BdXfer) => void; readonly expired: (xfer: BdXfer) => void },
  ) {
    this.tag = tag;
    this.device = owner.host.dip.controller.name;
    this.owner = owner;
    this.disk = owner.index;
    this.handle = handle;
    const cookies = handle.attr.dma_attr_sgllen;
    this.segments = { count: 0, addresses: new Float64Array(cookies), lengths: new Uint32Array(cookies) };
    this.ended = calls.ended;
    this.timer = new Timer(`time-out of ${owner.name}`, () => calls.expired(this));
  }

  /** For a buf that moves `bytes` bytes from sector `lba` on. */
  begin(bp: Buf, op: 'read' | 'write' | 'flush', lba: number, bytes: number): void {
    this.bp = bp;
    this.op = op;
    this.direction = op === 'flush' ? 'none' : op;
    this.lba = lba;
    this.remaining = bytes;
    this.bytes = 0;
    this.window = 0;
    this.windows = 1;
    this.retries = 0;
    this.sectors = 0;
    this.segments.count = 0;
  }

  done(): void {
    this.ended(this);
  }
}
