// Driver of NVMe controllers: pairs of I/O queues that commands take turns in, a slot of list memory a command.
//
// [1] NVM Express 1.4
// [2] PCI Local Bus 3.0, 6.8.2: MSI-X

import { ATA_READ_VERIFY_EXT, ATA_WRITE_DMA_FUA_EXT } from '../../assembly/ata/regs.ts';
import {
  PCI_CAP_MSIX,
  PCI_CAPABILITIES,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_DEVICE,
  PCI_MSIX_ENABLE,
  PCI_MSIX_ENTRY_BYTES,
  PCI_MSIX_TABLE,
  PCI_VENDOR,
} from '../../assembly/bus/pci-regs.ts';
import * as regs from '../../assembly/nvme/regs.ts';
import { ASC_INVALID_CDB_FIELD, KEY_ILLEGAL_REQUEST } from '../../assembly/scsi/regs.ts';
import type { Controller } from '../machine/controller.ts';
import { MachineError } from '../machine/errors.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import { type AtaDisk, setSense, TaskFile, transferBytes } from './ata.ts';
import type { CommandStatus, Driver, DriverCommand, DriverHost, DriverLimits } from './driver.ts';
import { NvmeBuffer } from './nvme-buffer.ts';
import { DataPointer } from './nvme-data.ts';
import { EVENT_CIDS, type EventClient, get32, type NvmeEvent, NvmeEvents, sizeOf } from './nvme-events.ts';
import { NvmeRing } from './nvme-ring.ts';
import { fail } from './nvme-status.ts';
import { ANSWER_BYTES, deliver, translate } from './sat.ts';

const PAGE_BYTES = 4096;
const TWO_32 = 2 ** 32;
/** Admin commands are few: the driver's own one by one, and signs of life. */
const ADMIN_ENTRIES = 64;
const OWN_CID = 0xffff;
/** SMART's warnings, namespaces that change, firmware ([1] 5.21.1.11). */
const EVENTS_WANTED = 0x31f;
const DEFAULT_QUEUES = 4;
const DEFAULT_DEPTH = 64;
/** SGL descriptors of one command; a slot holds them, or as many PRPs as the largest transfer has pages. */
const SGL_SEGMENTS = 64;
const SLOT_BYTES = 1024;
const PRP_MAX = SLOT_BYTES / 8;
/** Sectors that NLB counts, and that a range of Dataset Management does. */
const BLOCKS_MAX = 65536;
const RANGE_MAX = 0xffffffff;
const COMMAND_NS = 30e9;
const CAPABILITIES_MAX = 48;
/** Boards that drive 48 lines: no register says so. */
const BOARDS_48: readonly (readonly [number, number])[] = [
  [0x1d0f, 0x0061],
  [0x1d0f, 0x0065],
  [0x1d0f, 0x8061],
];

export interface NvmeOptions {
  /** Pairs of I/O queues (default 4), and entries of each (default 64); fewer where the controller has fewer. */
  readonly queues?: number;
  readonly depth?: number;
  /** Whether SGLs are used where the controller takes them; default true. */
  readonly sgl?: boolean;
  /** Whether submission queues go into the controller's memory buffer where it has one for them; default false. */
  readonly buffer?: boolean;
  /** Whether known boards are treated by what they do and not by what they claim; default true. */
  readonly quirks?: boolean;
  /** Told of every asynchronous event, from the interrupt handler. */
  readonly event?: (event: NvmeEvent) => void;
  /** Interrupt by message, queue 0 with this vector and the others with the following; default: by the line. */
  readonly vector?: number;
}

/** Enables the controller and looks for namespaces. Throws NvmeError where that fails. */
export function attachNvme(host: DriverHost, options: NvmeOptions = {}): Driver {
  const driver = new NvmeDriver(host, options);
  driver.attach();
  return driver;
}

export class NvmeError extends MachineError {
  override name = 'NvmeError';
}

/** A namespace, as sat.ts wants a disk. */
interface NvmeDisk extends AtaDisk {
  readonly nsid: number;
  /** A namespace may be resized. */
  sectors: number;
}

class NvmeDriver implements Driver {
  readonly name = 'nvme';
  limits: DriverLimits;
  readonly disks: NvmeDisk[] = [];
  readonly #host: DriverHost;
  readonly #board: Controller;
  readonly #memory: PhysMem;
  readonly #options: NvmeOptions;
  readonly #addressBits: number;
  readonly #stride: number;
  readonly #timeoutNs: number;
  readonly #admin: NvmeRing;
  readonly #rings: NvmeRing[] = [];
  readonly #page: number;
  readonly #pointer: DataPointer;
  readonly #task = new TaskFile();
  readonly #answer = new Uint8Array(ANSWER_BYTES);
  #sgl = false;
  /** The ring whose turn it is. */
  #turn = 0;
  readonly #buffer: NvmeBuffer;
  readonly #events: NvmeEvents;
  #lists = 0;
  #slots = 0;
  #open: (DriverCommand | null)[] = [];
  /** Slots whose command the driver answers itself. */
  #answered = new Uint8Array(0);
  #free = new Uint16Array(0);
  #freeCount = 0;
  /** Status of the driver's own admin command, −1: it is not over. */
  #ownStatus = -1;
  #ownResult = 0;
  /** The entry that is made, dword by dword. */
  readonly #entry = new Uint32Array(regs.NVME_SQE_BYTES / 4);
  /** What the next command says in dwords 0, 1, and 10 to 12. */
  #opcode = 0;
  #lba = 0;
  #dword12 = 0;

  constructor(host: DriverHost, options: NvmeOptions) {
    this.#host = host;
    this.#board = host.controller;
    this.#memory = host.memory;
    this.#options = options;
    this.#pointer = new DataPointer(host.memory);
    this.#buffer = new NvmeBuffer(host.controller);
    this.#addressBits = this.#isNarrow() ? 48 : 64;
    const command = this.#board.configRead(PCI_COMMAND, 2);
    this.#board.configWrite(PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    this.#stride = 4 << (this.#read(regs.NVME_CAP_HIGH) & regs.NVME_CAP_DSTRD_MASK);
    this.#timeoutNs = (this.#read(regs.NVME_CAP) >>> regs.NVME_CAP_TO_SHIFT) * 500e6;
    this.#admin = new NvmeRing(host, 0, ADMIN_ENTRIES, this.#stride, this.#addressBits);
    this.#page = host.dma.alloc(PAGE_BYTES, PAGE_BYTES, this.#addressBits);
    this.#events = new NvmeEvents(host, this.#eventClient(), this.#addressBits);
    this.limits = {
      addressBits: this.#addressBits,
      maxSegments: 1,
      maxSegmentBytes: PAGE_BYTES,
      boundaryMask: 0xffffffff,
      virtBoundaryMask: PAGE_BYTES - 1,
      alignmentMask: 3,
      maxSectors: 8,
      queueDepth: 1,
    };
  }

  attach(): void {
    try {
      this.#enable();
      this.#identify();
      this.#makeQueues();
      this.#scan();
      this.#startEvents();
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  // The way of a command.

  submit(command: DriverCommand): boolean {
    const disk = this.disks[command.disk];
    if (disk === undefined) throw new NvmeError(`there is no disk ${command.disk}`);
    if (this.#freeCount === 0) return false;
    const slot = this.#free[this.#freeCount - 1] as number;
    command.senseLength = 0;
    command.residual = 0;
    const answered = !this.#plan(command, disk, this.#lists + slot * SLOT_BYTES);
    const ring = answered ? this.#admin : this.#nextRing();
    const at = ring.room;
    if (at < 0) return false;
    this.#freeCount--;
    this.#open[slot] = command;
    this.#answered[slot] = answered ? 1 : 0;
    this.#write(at, slot, answered ? 0 : disk.nsid);
    ring.push();
    return true;
  }

  kick(): void {
    this.#admin.ring();
    const rings = this.#rings;
    for (let i = 0; i < rings.length; i++) (rings[i] as NvmeRing).ring();
    this.#turn = this.#turn + 1 === rings.length ? 0 : this.#turn + 1;
  }

  interrupt(): boolean {
    let handled = this.#reap(this.#admin);
    const rings = this.#rings;
    for (let i = 0; i < rings.length; i++) if (this.#reap(rings[i] as NvmeRing)) handled = true;
    return handled;
  }

  /** Abort ([1] 5.1); a controller that does not find the command, nor ended it, is reset. */
  abort(command: DriverCommand): void {
    const slot = this.#open.indexOf(command);
    if (slot < 0) return;
    this.kick();
    this.interrupt();
    for (let i = 0; i < this.#rings.length && this.#open[slot] === command; i++) {
      const id = (this.#rings[i] as NvmeRing).id;
      if (this.#execute(regs.NVME_ADMIN_ABORT, 0, id | (slot << 16)) < 0) break;
      this.interrupt();
    }
    if (this.#open[slot] === command) this.reset();
  }

  reset(): void {
    this.#enable();
    for (let i = 0; i < this.#rings.length; i++) (this.#rings[i] as NvmeRing).clear();
    this.#createQueues();
    this.#startEvents();
    this.#endAll('aborted');
  }

  detach(): void {
    this.#disable();
    this.#endAll('aborted');
    this.#release();
  }

  /** The ring whose turn it is, or another that has room. */
  #nextRing(): NvmeRing {
    const rings = this.#rings;
    for (let i = 0; i < rings.length; i++) {
      const ring = rings[(this.#turn + i) % rings.length] as NvmeRing;
      if (ring.room >= 0) return ring;
    }
    return rings[0] as NvmeRing;
  }

  /** Decides what the controller is asked for; false: only for a sign of life, the driver answers. */
  #plan(command: DriverCommand, disk: NvmeDisk, list: number): boolean {
    this.#lba = command.lba;
    switch (command.op) {
      case 'read':
      case 'write':
        return this.#planTransfer(command, disk, list, command.op === 'write', command.sectors, command.fua);
      case 'flush':
        this.#set(regs.NVME_FLUSH, 0, 0);
        this.#pointer.none();
        return true;
      case 'discard':
        if (command.sectors > RANGE_MAX) return this.#refuse(command);
        this.#memory.write4x32(list, 0, command.sectors, command.lba >>> 0, (command.lba / TWO_32) >>> 0);
        // One range, so dword 10 is 0.
        this.#set(regs.NVME_DSM, regs.NVME_DSM_DEALLOCATE * TWO_32, 0);
        this.#pointer.piece(list);
        return true;
      case 'scsi':
        return this.#planScsi(command, disk, list);
    }
  }

  #planTransfer(
    command: DriverCommand,
    disk: NvmeDisk,
    list: number,
    writes: boolean,
    sectors: number,
    fua: boolean,
  ): boolean {
    const bytes = sectors * disk.sectorBytes;
    if (sectors === 0 || sectors > BLOCKS_MAX || bytes > this.limits.maxSectors * 512)
      return this.#refuse(command);
    const { segments } = command;
    const opcode = writes ? regs.NVME_WRITE : regs.NVME_READ;
    if (this.#sgl) {
      this.#pointer.sgl(segments, list);
      this.#set(opcode | (regs.NVME_PSDT_SGL << 14), this.#lba, sectors - 1);
    } else {
      if (!this.#pointer.prp(segments, list)) throw new NvmeError('segments with gaps cannot be PRPs');
      this.#set(opcode, this.#lba, sectors - 1);
    }
    if (fua) this.#dword12 |= regs.NVME_FUA;
    return true;
  }

  /** The commands that sat.ts translates for disks: what it asks an ATA disk for says what a namespace is asked for. */
  #planScsi(command: DriverCommand, disk: NvmeDisk, list: number): boolean {
    const task = this.#task;
    if (!translate(command, disk, false, task)) return this.#life();
    this.#lba = task.lba;
    if (task.bytes > 0) {
      if (task.bytes > transferBytes(command)) return this.#refuse(command);
      const fua = task.command === ATA_WRITE_DMA_FUA_EXT;
      return this.#planTransfer(command, disk, list, task.writes, task.bytes / disk.sectorBytes, fua);
    }
    this.#pointer.none();
    if (task.command === ATA_READ_VERIFY_EXT) {
      this.#set(regs.NVME_VERIFY, task.lba, (task.count === 0 ? BLOCKS_MAX : task.count) - 1);
      return true;
    }
    // SYNCHRONIZE CACHE; START STOP UNIT has no other meaning for a namespace.
    this.#set(regs.NVME_FLUSH, 0, 0);
    return true;
  }

  #refuse(command: DriverCommand): false {
    setSense(command, KEY_ILLEGAL_REQUEST, ASC_INVALID_CDB_FIELD);
    return this.#life();
  }

  /** Get Features does nothing, and shows that the controller is alive. */
  #life(): false {
    this.#pointer.none();
    this.#set(regs.NVME_ADMIN_GET_FEATURES, regs.NVME_FEATURE_QUEUES, 0);
    return false;
  }

  #set(opcode: number, lba: number, dword12: number): void {
    this.#opcode = opcode;
    this.#lba = lba;
    this.#dword12 = dword12;
  }

  /** The entry, [1] 4.2; dwords that are not named stay 0. */
  #write(at: number, cid: number, nsid: number): void {
    const buffer = this.#buffer;
    const memory = buffer.holds(at) ? buffer : this.#memory;
    const { words } = this.#pointer;
    const entry = this.#entry;
    const lba = this.#lba;
    entry[0] = this.#opcode | (cid << 16);
    entry[1] = nsid;
    entry[6] = words[0] as number;
    entry[7] = words[1] as number;
    entry[8] = words[2] as number;
    entry[9] = words[3] as number;
    entry[10] = lba >>> 0;
    entry[11] = (lba / TWO_32) >>> 0;
    entry[12] = this.#dword12;
    memory.writeWords(at, entry);
  }

  /** Ends what a ring's completions say; one doorbell for all of them. */
  #reap(ring: NvmeRing): boolean {
    while (ring.next()) {
      if (ring.cid === OWN_CID) {
        this.#ownStatus = ring.status & regs.NVME_STATUS_MASK;
        this.#ownResult = ring.result;
      } else if (ring.cid >= EVENT_CIDS) {
        this.#events.handle(ring.cid, ring.status, ring.result);
      } else {
        this.#complete(ring.cid, ring.status & regs.NVME_STATUS_MASK);
      }
    }
    const some = ring.release();
    if (some) this.#events.step();
    return some;
  }

  #complete(slot: number, status: number): void {
    const command = this.#open[slot];
    if (command === undefined || command === null) return;
    if (status !== regs.NVME_SUCCESS) fail(command, status);
    else if (this.#answered[slot] === 1)
      deliver(command, this.disks[command.disk] as NvmeDisk, this.#memory, this.#answer);
    else command.status = 'ok';
    this.#vacate(slot);
    command.done(command);
  }

  #vacate(slot: number): void {
    this.#open[slot] = null;
    this.#free[this.#freeCount++] = slot;
  }

  #endAll(status: CommandStatus): void {
    for (let slot = 0; slot < this.#slots; slot++) {
      const command = this.#open[slot];
      if (command === undefined || command === null) continue;
      command.status = status;
      command.senseLength = 0;
      command.residual = transferBytes(command);
      this.#vacate(slot);
      command.done(command);
    }
  }

  // Setting up, [1] 7.6.1.

  #disable(): void {
    this.#set32(regs.NVME_CC, 0);
    const isOff = (): boolean => (this.#read(regs.NVME_CSTS) & regs.NVME_CSTS_RDY) === 0;
    if (!this.#host.waitUntil(isOff, this.#timeoutNs)) throw new NvmeError('the controller does not stop');
  }

  #enable(): void {
    this.#disable();
    this.#admin.clear();
    this.#set32(regs.NVME_AQA, (ADMIN_ENTRIES - 1) * 0x10001);
    this.#setAddress(regs.NVME_ASQ, this.#admin.submissions);
    this.#setAddress(regs.NVME_ACQ, this.#admin.completions);
    const entries =
      (regs.NVME_SQE_SHIFT << regs.NVME_CC_IOSQES_SHIFT) | (regs.NVME_CQE_SHIFT << regs.NVME_CC_IOCQES_SHIFT);
    this.#set32(regs.NVME_CC, regs.NVME_CC_EN | entries);
    const isOn = (): boolean =>
      (this.#read(regs.NVME_CSTS) & (regs.NVME_CSTS_RDY | regs.NVME_CSTS_CFS)) !== 0;
    const on = this.#host.waitUntil(isOn, this.#timeoutNs);
    if (!on || (this.#read(regs.NVME_CSTS) & regs.NVME_CSTS_CFS) !== 0)
      throw new NvmeError('the controller does not become ready');
  }

  /** What the controller says of itself: the largest transfer, SGLs. */
  #identify(): void {
    const data = this.#ask(regs.NVME_CNS_CONTROLLER, 0);
    const mdts = data[regs.NVME_ID_MDTS] as number;
    const most = PRP_MAX * PAGE_BYTES;
    const bytes = mdts === 0 ? most : Math.min(most, PAGE_BYTES * 2 ** mdts);
    this.#sgl = ((data[regs.NVME_ID_SGLS] as number) & 3) !== 0 && this.#options.sgl !== false;
    this.limits = {
      ...this.limits,
      maxSegments: this.#sgl ? SGL_SEGMENTS : bytes / PAGE_BYTES,
      maxSegmentBytes: bytes,
      virtBoundaryMask: this.#sgl ? 0 : PAGE_BYTES - 1,
      maxSectors: bytes / 512,
    };
  }

  #makeQueues(): void {
    const wanted = this.#options.queues ?? DEFAULT_QUEUES;
    if (
      this.#execute(regs.NVME_ADMIN_SET_FEATURES, 0, regs.NVME_FEATURE_QUEUES, (wanted - 1) * 0x10001) !== 0
    )
      throw new NvmeError('the controller gives no I/O queues');
    const granted = Math.min(this.#ownResult & 0xffff, this.#ownResult >>> 16) + 1;
    const most = (this.#read(regs.NVME_CAP) & regs.NVME_CAP_MQES_MASK) + 1;
    const entries = Math.min(this.#options.depth ?? DEFAULT_DEPTH, most);
    if (this.#options.buffer === true) this.#buffer.open();
    for (let id = 1; id <= Math.min(wanted, granted); id++) {
      const inside = this.#buffer.take(entries * regs.NVME_SQE_BYTES);
      this.#rings.push(new NvmeRing(this.#host, id, entries, this.#stride, this.#addressBits, inside));
    }
    this.#slots = this.#rings.length * (entries - 1);
    this.limits.queueDepth = this.#slots;
    this.#lists = this.#host.dma.alloc(this.#slots * SLOT_BYTES, PAGE_BYTES, this.#addressBits);
    this.#open = new Array<DriverCommand | null>(this.#slots).fill(null);
    this.#answered = new Uint8Array(this.#slots);
    this.#free = Uint16Array.from({ length: this.#slots }, (_, i) => this.#slots - 1 - i);
    this.#freeCount = this.#slots;
    if (this.#options.vector !== undefined) this.#enableMessages(this.#options.vector);
    this.#createQueues();
  }

  #createQueues(): void {
    const messages = this.#options.vector !== undefined;
    for (const { id, entries, submissions, completions } of this.#rings) {
      const size = (id | ((entries - 1) << 16)) >>> 0;
      const vector = messages ? id << 16 : 0;
      const flags = vector | regs.NVME_QUEUE_PC | regs.NVME_QUEUE_IEN;
      const bad =
        this.#execute(regs.NVME_ADMIN_CREATE_CQ, completions, size, flags) !== 0 ||
        this.#execute(regs.NVME_ADMIN_CREATE_SQ, submissions, size, (id << 16) | regs.NVME_QUEUE_PC) !== 0;
      if (bad) throw new NvmeError(`the controller refuses queue ${id}`);
    }
  }

  #scan(): void {
    const controller = this.#ask(regs.NVME_CNS_CONTROLLER, 0);
    const list = this.#ask(regs.NVME_CNS_ACTIVE, 0);
    for (let at = 0; at < PAGE_BYTES; at += 4) {
      const nsid = get32(list, at);
      if (nsid === 0) break;
      const data = this.#ask(regs.NVME_CNS_NAMESPACE, nsid);
      this.disks.push({
        nsid,
        vendor: 'NVMe',
        model: text(controller, regs.NVME_ID_MODEL, 40),
        serial: text(controller, regs.NVME_ID_SERIAL, 20),
        firmware: text(controller, regs.NVME_ID_FIRMWARE, 8),
        ...sizeOf(data),
        writeCache: ((controller[regs.NVME_ID_VWC] as number) & 1) !== 0,
        queueDepth: 0,
        trim: true,
        fua: true,
        wwn: new Uint8Array(0),
      });
    }
  }

  /** Every event that the controller has; a controller without some of them takes the others all the same. */
  #startEvents(): void {
    this.#execute(regs.NVME_ADMIN_SET_FEATURES, 0, regs.NVME_FEATURE_EVENTS, EVENTS_WANTED);
    this.#events.start();
  }

  #eventClient(): EventClient {
    return {
      send: (opcode, cid, nsid, address, dword10) => {
        const at = this.#admin.room;
        if (at < 0) return false;
        this.#pointer.piece(address);
        this.#set(opcode, dword10 >>> 0, 0);
        this.#write(at, cid, nsid);
        this.#admin.push();
        this.#admin.ring();
        return true;
      },
      namespaces: () => this.disks.map(({ nsid }) => nsid),
      changed: (nsid, data) => {
        const disk = this.disks.find((other) => other.nsid === nsid);
        if (disk !== undefined) disk.sectors = sizeOf(data).sectors;
      },
      told: (event) => this.#options.event?.(event),
    };
  }

  /** Identify data. */
  #ask(cns: number, nsid: number): Uint8Array {
    if (this.#execute(regs.NVME_ADMIN_IDENTIFY, this.#page, cns, 0, nsid) !== 0)
      throw new NvmeError(`Identify ${cns} fails`);
    return this.#memory.readBytes(this.#page, PAGE_BYTES);
  }

  /** An admin command of the driver's own, polled; its status, −1: it does not end. */
  #execute(opcode: number, address: number, dword10: number, dword11 = 0, nsid = 0): number {
    const at = this.#admin.room;
    if (at < 0) return -1;
    this.#pointer.piece(address);
    this.#set(opcode, (dword11 >>> 0) * TWO_32 + (dword10 >>> 0), 0);
    this.#write(at, OWN_CID, nsid);
    this.#ownStatus = -1;
    this.#admin.push();
    this.#admin.ring();
    const isOver = (): boolean => {
      this.#reap(this.#admin);
      return this.#ownStatus >= 0;
    };
    this.#host.waitUntil(isOver, COMMAND_NS);
    return this.#ownStatus;
  }

  #release(): void {
    const { dma } = this.#host;
    this.#admin.free();
    for (const ring of this.#rings) ring.free();
    if (this.#lists !== 0) dma.free(this.#lists, this.#slots * SLOT_BYTES);
    dma.free(this.#page, PAGE_BYTES);
    this.#events.free();
  }

  /** [2]: a message a queue, to the interrupt controller's window. Without MSI-X nothing happens. */
  #enableMessages(vector: number): void {
    let at = this.#board.configRead(PCI_CAPABILITIES, 1);
    for (let i = 0; i < CAPABILITIES_MAX && at !== 0; i++) {
      if (this.#board.configRead(at, 1) === PCI_CAP_MSIX) {
        const control = this.#board.configRead(at + 2, 2);
        const table = this.#board.configRead(at + PCI_MSIX_TABLE, 4);
        for (let id = 0; id <= this.#rings.length; id++) {
          const entry = (table & ~7) + id * PCI_MSIX_ENTRY_BYTES;
          const words = [0xfee00000, 0, vector + id, 0];
          for (const [j, word] of words.entries()) this.#board.write32(table & 7, entry + 4 * j, word);
        }
        this.#board.configWrite(at + 2, 2, control | PCI_MSIX_ENABLE);
        return;
      }
      at = this.#board.configRead(at + 1, 1);
    }
  }

  #isNarrow(): boolean {
    if (this.#options.quirks === false) return false;
    const vendor = this.#board.configRead(PCI_VENDOR, 2);
    const device = this.#board.configRead(PCI_DEVICE, 2);
    return BOARDS_48.some((board) => board[0] === vendor && board[1] === device);
  }

  #read(register: number): number {
    return this.#board.read32(regs.NVME_BAR, register);
  }
  #set32(register: number, value: number): void {
    this.#board.write32(regs.NVME_BAR, register, value);
  }
  #setAddress(register: number, address: number): void {
    this.#set32(register, address >>> 0);
    this.#set32(register + 4, (address / TWO_32) >>> 0);
  }
}

function text(data: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...data.subarray(at, at + length))
    .replaceAll('\0', ' ')
    .trim();
}
