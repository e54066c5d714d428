// Driver of virtio block devices, by the modern interface: transitional devices have it too. Requests go to the queues
// in turn; each has a slot with its header, status and descriptors, made when the driver attaches.
//
// [1] Virtual I/O Device (VIRTIO) 1.2
// [2] SPC-3 and SBC-2 for passthrough commands (sat.ts)

import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../../assembly/bus/pci-regs.ts';
import {
  ASC_INVALID_CDB_FIELD,
  ASC_LBA_RANGE,
  CDB_FUA,
  KEY_ILLEGAL_REQUEST,
  OP_READ_6,
  OP_READ_10,
  OP_READ_12,
  OP_READ_16,
  OP_SYNCHRONIZE_CACHE_10,
  OP_SYNCHRONIZE_CACHE_16,
  OP_WRITE_6,
  OP_WRITE_10,
  OP_WRITE_12,
  OP_WRITE_16,
} from '../../assembly/scsi/regs.ts';
import * as regs from '../../assembly/virtio-blk/regs.ts';
import type { Controller } from '../machine/controller.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import { type AtaDisk, setSense, transferBytes } from './ata.ts';
import type { CommandStatus, Driver, DriverCommand, DriverHost, DriverLimits } from './driver.ts';
import { ANSWER_BYTES, deliver, lbaOf, sectorsOf } from './sat.ts';
import { VirtioPci } from './virtio-pci.ts';
import { createRing, type Ring } from './virtio-ring.ts';

/** Data segments of one request, where the device takes that many. */
const SEGMENTS = 62;
/** Without indirect descriptors a request owns a share of the ring, and that is small. */
const DIRECT_SEGMENTS = 14;
/** A slot's memory: header, ranges of a discard, status, the answer to GET_ID. */
const SLOT_BYTES = 64;
const RANGE_AT = 16;
const STATUS_AT = 32;
const ID_AT = 40;
/** No status yet. */
const UNSET = 0xff;
const MOST_SECTORS = 65535;
const UNLIMITED = 0xffffffff;
/** A GET_ID may take this long. */
const COMMAND_NS = 30e9;

export interface VirtioBlkOptions {
  /** Whether a packed ring is used where one is offered; default true. */
  readonly packed?: boolean;
  /** Interrupt by messages from this vector on, where the device can; default: by the line. */
  readonly vector?: number;
}

/** Resets the device and makes its queues. Throws VirtioError where that fails. */
export function attachVirtioBlk(host: DriverHost, options: VirtioBlkOptions = {}): Driver {
  const driver = new VirtioBlkDriver(host, options);
  driver.attach();
  return driver;
}

export class VirtioError extends Error {
  override name = 'VirtioError';
}

/** A queue with its slots; `first` is the number of slot 0 among those of all queues. */
interface Queue {
  readonly ring: Ring;
  readonly first: number;
  readonly free: Uint16Array;
  freeCount: number;
}

/** A disk, as sat.ts wants one, that may be resized. */
interface VirtioDisk extends AtaDisk {
  sectors: number;
}

class VirtioBlkDriver implements Driver {
  readonly name = 'virtio-blk';
  readonly limits: DriverLimits;
  readonly disks: VirtioDisk[] = [];
  /** The configuration's, when the disk was last measured. */
  #generation = 0;
  readonly #host: DriverHost;
  readonly #pci: VirtioPci;
  readonly #memory: PhysMem;
  readonly #options: VirtioBlkOptions;
  readonly #features: number;
  readonly #featuresHigh: number;
  readonly #queues: Queue[] = [];
  #turn = 0;

  // By slot number among all queues.
  readonly #commands: (DriverCommand | null)[] = [];
  readonly #counts: Uint16Array;
  readonly #types: Uint8Array;
  /** Non-zero: the cache is flushed after the write. */
  readonly #fua: Uint8Array;
  readonly #slots: number;
  readonly #answer = new Uint8Array(ANSWER_BYTES);

  constructor(host: DriverHost, options: VirtioBlkOptions) {
    this.#host = host;
    this.#memory = host.memory;
    this.#options = options;
    const controller: Controller = host.controller;
    const command = controller.configRead(PCI_COMMAND, 2);
    // Until the interrupt handler is there, the line stays quiet.
    const bits = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
    controller.configWrite(PCI_COMMAND, 2, command | bits);
    const pci = VirtioPci.find(controller);
    if (pci === null) throw new VirtioError('the device has no modern interface');
    this.#pci = pci;
    pci.setStatus(0);
    pci.setStatus(regs.VIRTIO_ACKNOWLEDGE);
    pci.setStatus(regs.VIRTIO_DRIVER);
    const wanted =
      regs.VIRTIO_BLK_F_SIZE_MAX |
      regs.VIRTIO_BLK_F_SEG_MAX |
      regs.VIRTIO_BLK_F_RO |
      regs.VIRTIO_BLK_F_BLK_SIZE |
      regs.VIRTIO_BLK_F_FLUSH |
      regs.VIRTIO_BLK_F_MQ |
      regs.VIRTIO_BLK_F_DISCARD |
      regs.VIRTIO_F_INDIRECT_DESC |
      regs.VIRTIO_F_EVENT_IDX;
    const packed = options.packed === false ? 0 : regs.VIRTIO_F_RING_PACKED;
    this.#features = pci.features(0) & wanted;
    this.#featuresHigh = pci.features(1) & (regs.VIRTIO_F_VERSION_1 | regs.VIRTIO_F_ACCESS_PLATFORM | packed);
    this.#negotiate();
    const indirect = this.#has(regs.VIRTIO_F_INDIRECT_DESC);
    const segMax = this.#has(regs.VIRTIO_BLK_F_SEG_MAX) ? pci.config32(regs.BLK_SEG_MAX) : 1;
    const maxSegments = Math.min(segMax, indirect ? SEGMENTS : DIRECT_SEGMENTS);
    this.#makeQueues(maxSegments, indirect);
    const slots = this.#queues.reduce((sum, { ring }) => sum + ring.depth, 0);
    this.limits = {
      addressBits: 64,
      maxSegments,
      maxSegmentBytes: this.#has(regs.VIRTIO_BLK_F_SIZE_MAX) ? pci.config32(regs.BLK_SIZE_MAX) : UNLIMITED,
      boundaryMask: UNLIMITED,
      virtBoundaryMask: 0,
      alignmentMask: 0,
      maxSectors: MOST_SECTORS,
      queueDepth: slots,
    };
    this.#commands = new Array(slots).fill(null);
    this.#counts = new Uint16Array(slots);
    this.#types = new Uint8Array(slots);
    this.#fua = new Uint8Array(slots);
    this.#slots = host.dma.alloc(slots * SLOT_BYTES, 64, 64);
  }

  attach(): void {
    this.#start();
    const disk = this.#describe(this.#readId());
    this.#generation = this.#pci.generation();
    if (disk.sectors > 0) this.disks.push(disk);
    const { vector } = this.#options;
    if (vector !== undefined) this.#pci.enableMessages(vector);
    this.#placeVectors();
    const { controller } = this.#host;
    const command = controller.configRead(PCI_COMMAND, 2);
    controller.configWrite(PCI_COMMAND, 2, command & ~PCI_COMMAND_INTX_DISABLE);
  }

  submit(command: DriverCommand): boolean {
    const disk = this.disks[command.disk];
    if (disk === undefined) throw new VirtioError(`there is no disk ${command.disk}`);
    command.senseLength = 0;
    command.residual = 0;
    if (command.op === 'scsi') return this.#submitScsi(command, disk);
    const { op, lba, sectors } = command;
    switch (op) {
      case 'read':
        return this.#place(command, regs.BLK_T_IN, lba, sectors, false);
      case 'write':
        return this.#place(command, regs.BLK_T_OUT, lba, sectors, command.fua);
      case 'flush':
        return this.#flush(command);
      case 'discard':
        if (!disk.trim) return this.#refuse(command);
        return this.#place(command, regs.BLK_T_DISCARD, lba, sectors, false);
    }
  }

  kick(): void {
    const queues = this.#queues;
    for (let i = 0; i < queues.length; i++) {
      if ((queues[i] as Queue).ring.publish()) this.#pci.notify(i);
    }
  }

  interrupt(): boolean {
    if (this.#pci.messages) {
      this.#reap();
      if (this.#pci.generation() !== this.#generation) this.#measure();
      if ((this.#pci.status() & regs.VIRTIO_NEEDS_RESET) !== 0) this.#restart('transport-error');
      return true;
    }
    const isr = this.#pci.readIsr();
    if (isr === 0) return false;
    if ((isr & regs.VIRTIO_ISR_QUEUE) !== 0) this.#reap();
    if ((isr & regs.VIRTIO_ISR_CONFIG) !== 0) {
      this.#measure();
      if ((this.#pci.status() & regs.VIRTIO_NEEDS_RESET) !== 0) this.#restart('transport-error');
    }
    return true;
  }

  /** The configuration changed: the disk may be larger or smaller ([1] 5.2.5.2). */
  #measure(): void {
    this.#generation = this.#pci.generation();
    const disk = this.disks[0];
    if (disk !== undefined) disk.sectors = this.#sectors(disk.sectorBytes);
  }

  #sectors(sectorBytes: number): number {
    return Math.floor((this.#pci.config64(regs.BLK_CAPACITY) * 512) / sectorBytes);
  }

  /** There is no request that aborts another: the device is reset, and the others begin again. */
  abort(command: DriverCommand): void {
    const number = this.#commands.indexOf(command);
    if (number < 0) return;
    this.#reap();
    if (this.#commands[number] !== command) return;
    this.#pci.setStatus(0);
    this.#revive();
    this.#end(number, 'aborted');
    for (const queue of this.#queues) {
      for (let slot = 0; slot < queue.ring.depth; slot++) {
        const other = queue.first + slot;
        if (this.#commands[other] !== null) queue.ring.add(slot, this.#counts[other] as number);
      }
    }
    this.kick();
  }

  reset(): void {
    this.#restart('aborted');
  }

  detach(): void {
    this.#pci.setStatus(0);
    this.#endAll('aborted');
    for (const { ring } of this.#queues) ring.free();
    this.#host.dma.free(this.#slots, this.#commands.length * SLOT_BYTES);
  }

  // Requests.

  #submitScsi(command: DriverCommand, disk: AtaDisk): boolean {
    const op = command.cdb[0] as number;
    switch (op) {
      case OP_READ_6:
      case OP_READ_10:
      case OP_READ_12:
      case OP_READ_16:
        return this.#transferScsi(command, disk, regs.BLK_T_IN);
      case OP_WRITE_6:
      case OP_WRITE_10:
      case OP_WRITE_12:
      case OP_WRITE_16:
        return this.#transferScsi(command, disk, regs.BLK_T_OUT);
      case OP_SYNCHRONIZE_CACHE_10:
      case OP_SYNCHRONIZE_CACHE_16:
        return this.#flush(command);
      default:
        deliver(command, disk, this.#memory, this.#answer);
        return this.#endByInterrupt(command);
    }
  }

  #transferScsi(command: DriverCommand, disk: AtaDisk, type: number): boolean {
    const { cdb } = command;
    const lba = lbaOf(cdb);
    const sectors = sectorsOf(cdb);
    const bytes = transferBytes(command);
    if (lba + sectors > disk.sectors) return this.#refuse(command, ASC_LBA_RANGE);
    if (sectors * disk.sectorBytes !== bytes) return this.#refuse(command);
    if (sectors === 0) return this.#succeed(command);
    const fua = cdb[0] !== OP_WRITE_6 && ((cdb[1] as number) & CDB_FUA) !== 0;
    return this.#place(command, type, lba, sectors, fua && type === regs.BLK_T_OUT);
  }

  #flush(command: DriverCommand): boolean {
    if (!this.#has(regs.VIRTIO_BLK_F_FLUSH)) return this.#succeed(command);
    return this.#place(command, regs.BLK_T_FLUSH, 0, 0, false);
  }

  #refuse(command: DriverCommand, code: number = ASC_INVALID_CDB_FIELD): boolean {
    setSense(command, KEY_ILLEGAL_REQUEST, code);
    command.residual = transferBytes(command);
    return this.#endByInterrupt(command);
  }

  #succeed(command: DriverCommand): boolean {
    command.status = 'ok';
    return this.#endByInterrupt(command);
  }

  /** A command that the driver has answered waits for a GET_ID: who submits may hold what done() wants. */
  #endByInterrupt(command: DriverCommand): boolean {
    return this.#place(command, regs.BLK_T_GET_ID, 0, 0, false);
  }

  /** Builds a request in a slot of the queue whose turn it is; false when no queue has one. */
  #place(command: DriverCommand, type: number, lba: number, sectors: number, fua: boolean): boolean {
    const queues = this.#queues;
    for (let i = 0; i < queues.length; i++) {
      const queue = queues[this.#turn] as Queue;
      this.#turn = this.#turn + 1 === queues.length ? 0 : this.#turn + 1;
      if (queue.freeCount === 0) continue;
      const slot = queue.free[--queue.freeCount] as number;
      this.#commands[queue.first + slot] = command;
      this.#fua[queue.first + slot] = fua ? 1 : 0;
      this.#build(queue, slot, command, type, lba, sectors);
      return true;
    }
    return false;
  }

  #build(
    queue: Queue,
    slot: number,
    command: DriverCommand,
    type: number,
    lba: number,
    sectors: number,
  ): void {
    const { ring } = queue;
    const number = queue.first + slot;
    const at = this.#slots + number * SLOT_BYTES;
    const scale = (this.disks[command.disk] as AtaDisk).sectorBytes / 512;
    const first = lba * scale;
    const discards = type === regs.BLK_T_DISCARD;
    const moves = type === regs.BLK_T_IN || type === regs.BLK_T_OUT;
    const identifies = type === regs.BLK_T_GET_ID;
    const count = 2 + (moves ? command.segments.count : discards || identifies ? 1 : 0);
    this.#types[number] = type;
    this.#counts[number] = count;
    const low = discards ? 0 : first >>> 0;
    const high = discards ? 0 : (first / 2 ** 32) >>> 0;
    this.#memory.write4x32(at, type, 0, low, high);
    this.#memory.write8(at + STATUS_AT, UNSET);
    ring.describe(slot, 0, count, at, regs.BLK_HEADER_BYTES, false);
    if (discards) {
      this.#memory.write4x32(at + RANGE_AT, first >>> 0, (first / 2 ** 32) >>> 0, sectors * scale, 0);
      ring.describe(slot, 1, count, at + RANGE_AT, regs.BLK_RANGE_BYTES, false);
    } else if (identifies) {
      ring.describe(slot, 1, count, at + ID_AT, regs.BLK_ID_BYTES, true);
    } else if (moves) {
      const { addresses, lengths } = command.segments;
      const writes = type === regs.BLK_T_IN;
      for (let i = 1; i < count - 1; i++) {
        ring.describe(slot, i, count, addresses[i - 1] as number, lengths[i - 1] as number, writes);
      }
    }
    ring.describe(slot, count - 1, count, at + STATUS_AT, 1, true);
    ring.add(slot, count);
  }

  /** Ends what the device has used; then asks for the next interrupt, and looks again. */
  #reap(): void {
    const queues = this.#queues;
    for (let i = 0; i < queues.length; i++) {
      const queue = queues[i] as Queue;
      const { ring } = queue;
      for (let more = true; more; ) {
        let slot = ring.take();
        more = slot >= 0;
        while (slot >= 0) {
          this.#complete(queue, slot);
          slot = ring.take();
        }
        ring.arm();
      }
    }
  }

  #complete(queue: Queue, slot: number): void {
    const number = queue.first + slot;
    const command = this.#commands[number] ?? null;
    if (command === null || slot >= queue.ring.depth) return;
    const status = this.#memory.read8(this.#slots + number * SLOT_BYTES + STATUS_AT);
    if (status === regs.BLK_S_OK && this.#fua[number] !== 0 && this.#has(regs.VIRTIO_BLK_F_FLUSH)) {
      this.#fua[number] = 0;
      this.#build(queue, slot, command, regs.BLK_T_FLUSH, 0, 0);
      this.kick();
      return;
    }
    const answered = this.#types[number] === regs.BLK_T_GET_ID;
    if (status === regs.BLK_S_OK || answered) {
      if (!answered) {
        command.status = 'ok';
        command.residual = 0;
      }
      this.#vacate(queue, slot);
      command.done(command);
    } else this.#end(number, status === UNSET ? 'transport-error' : 'device-error');
  }

  #end(number: number, status: CommandStatus): void {
    const command = this.#commands[number] ?? null;
    if (command === null) return;
    command.status = status;
    command.senseLength = 0;
    command.residual = transferBytes(command);
    const queue = this.#queues.find(
      ({ first, ring }) => number >= first && number < first + ring.depth,
    ) as Queue;
    this.#vacate(queue, number - queue.first);
    command.done(command);
  }

  #vacate(queue: Queue, slot: number): void {
    this.#commands[queue.first + slot] = null;
    queue.free[queue.freeCount++] = slot;
  }

  #endAll(status: CommandStatus): void {
    for (let number = 0; number < this.#commands.length; number++) this.#end(number, status);
  }

  // The device.

  #has(feature: number): boolean {
    return (this.#features & feature) !== 0;
  }

  /** [1] 3.1.1, steps 4 to 6. */
  #negotiate(): void {
    const pci = this.#pci;
    pci.accept(this.#features, this.#featuresHigh);
    pci.setStatus(regs.VIRTIO_ACKNOWLEDGE | regs.VIRTIO_DRIVER | regs.VIRTIO_FEATURES_OK);
    if ((pci.status() & regs.VIRTIO_FEATURES_OK) === 0) {
      pci.setStatus(regs.VIRTIO_FAILED);
      throw new VirtioError('the device refuses the features that it offers');
    }
  }

  #makeQueues(maxSegments: number, indirect: boolean): void {
    const pci = this.#pci;
    const packed = (this.#featuresHigh & regs.VIRTIO_F_RING_PACKED) !== 0;
    const count = this.#has(regs.VIRTIO_BLK_F_MQ) ? pci.config16(regs.BLK_NUM_QUEUES) : 1;
    let first = 0;
    for (let i = 0; i < count; i++) {
      const shape = {
        size: pci.queueSize(i),
        indirect,
        events: this.#has(regs.VIRTIO_F_EVENT_IDX),
        descriptors: maxSegments + 2,
        addressBits: 64,
      };
      const ring = createRing(this.#host, shape, packed);
      const free = Uint16Array.from({ length: ring.depth }, (_, slot) => ring.depth - 1 - slot);
      this.#queues.push({ ring, first, free, freeCount: ring.depth });
      first += ring.depth;
    }
  }

  /** [1] 3.1.1, steps 7 and 8. */
  #start(): void {
    for (const [i, { ring }] of this.#queues.entries()) {
      ring.clear();
      ring.arm();
      this.#pci.enableQueue(i, ring.desc, ring.driver, ring.device);
    }
    const { VIRTIO_ACKNOWLEDGE, VIRTIO_DRIVER, VIRTIO_FEATURES_OK, VIRTIO_DRIVER_OK } = regs;
    this.#pci.setStatus(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
  }

  #placeVectors(): void {
    if (this.#pci.messages) this.#pci.placeVectors(this.#queues.length);
  }

  /** A device that was reset takes up its work again. */
  #revive(): void {
    this.#pci.setStatus(regs.VIRTIO_ACKNOWLEDGE);
    this.#pci.setStatus(regs.VIRTIO_DRIVER);
    this.#negotiate();
    this.#start();
    this.#placeVectors();
  }

  #restart(status: CommandStatus): void {
    this.#pci.setStatus(0);
    this.#revive();
    this.#endAll(status);
  }

  #describe(serial: string): VirtioDisk {
    const pci = this.#pci;
    const sectorBytes = this.#has(regs.VIRTIO_BLK_F_BLK_SIZE) ? pci.config32(regs.BLK_BLK_SIZE) : 512;
    return {
      vendor: 'VIRTIO',
      model: 'BLOCK DEVICE',
      firmware: '1.2',
      serial,
      sectors: this.#sectors(sectorBytes),
      sectorBytes,
      writeCache: this.#has(regs.VIRTIO_BLK_F_FLUSH),
      queueDepth: this.limits.queueDepth,
      trim: this.#has(regs.VIRTIO_BLK_F_DISCARD),
      fua: this.#has(regs.VIRTIO_BLK_F_FLUSH),
      wwn: new Uint8Array(0),
    };
  }

  /** GET_ID, while nothing else runs; empty where the device does not know one. */
  #readId(): string {
    const { ring, first } = this.#queues[0] as Queue;
    const at = this.#slots + first * SLOT_BYTES;
    const id = at + ID_AT;
    this.#memory.write4x32(at, regs.BLK_T_GET_ID, 0, 0, 0);
    this.#memory.write8(at + STATUS_AT, UNSET);
    ring.describe(0, 0, 3, at, regs.BLK_HEADER_BYTES, false);
    ring.describe(0, 1, 3, id, regs.BLK_ID_BYTES, true);
    ring.describe(0, 2, 3, at + STATUS_AT, 1, true);
    ring.add(0, 3);
    if (ring.publish()) this.#pci.notify(0);
    let slot = -1;
    this.#host.waitUntil(() => {
      if (slot < 0) slot = ring.take();
      return slot >= 0;
    }, COMMAND_NS);
    ring.arm();
    if (slot < 0) throw new VirtioError('the device does not answer');
    this.#pci.readIsr();
    const bytes = this.#memory.readBytes(id, regs.BLK_ID_BYTES);
    const good = this.#memory.read8(at + STATUS_AT) === regs.BLK_S_OK;
    return good ? String.fromCharCode(...bytes.filter((byte) => byte !== 0)).trim() : '';
  }
}
