// Disks: what stands between the requests of a queue and a driver of src/drivers. In Linux these are the SCSI mid layer
// and the sd driver (drivers/scsi/scsi_lib.c, sd.c), of which libata is a part.
//
// Every command slot is made when the driver attaches, with its scatter list and its list of segments: a request on its
// way allocates nothing.

import { reportCommand, waiterOf } from '../drivers/host.ts';
import {
  attachDriver,
  type DmaMemory,
  type Driver,
  type DriverDisk,
  type DriverHost,
} from '../drivers/index.ts';
import { parseSense } from '../drivers/scsi.ts';
import type { Rule } from '../guard/index.ts';
import { type IrqAction, Timer } from '../kernel/index.ts';
import type { Controller } from '../machine/controller.ts';
import { USHRT_MAX } from './argument.ts';
import {
  READ,
  REQ_FUA,
  REQ_OP_DISCARD,
  REQ_OP_FLUSH,
  REQ_OP_READ,
  REQ_OP_WRITE,
  REQ_PREFLUSH,
} from './bio-struct.ts';
import {
  BLK_EH_HANDLED,
  BLK_EH_NOT_HANDLED,
  BLKPREP_KILL,
  BLKPREP_OK,
  Gendisk,
  REQ_TYPE_BLOCK_PC,
  type Request,
  type RequestQueue,
} from './blkdev.ts';
import { Device, DMA_BIT_MASK, DMA_FROM_DEVICE, DMA_TO_DEVICE } from './device.ts';
import { EIO, ENOMEM } from './errno.ts';
import { GFP_KERNEL } from './gfp.ts';
import type { Linux } from './kernel.ts';
import { ScsiCommand } from './scsi-cmnd.ts';
import { errorOf, resultOf } from './scsi-error.ts';

/** Virtual ns after which a command is given up (SD_TIMEOUT). */
const TIMEOUT_NS = 30e9;
/** How often a command that failed on its way is sent again (SD_MAX_RETRIES). */
const MAX_RETRIES = 5;
/** Virtual ns until a queue that could not go on with nothing under way is tried again (SCSI_QUEUE_DELAY). */
const DELAY_NS = 3e6;
/** Word alignment is the least that is asked of user memory, whatever the hardware can do. */
const LEAST_ALIGNMENT = 3;
/** Sectors of one discard: what 64 blocks of ranges cannot exceed. */
const MAX_DISCARD = 64 * 65535;

export interface AttachOptions {
  /** Attaches the driver; default: the one for the controller's kind. */
  readonly attach?: (host: DriverHost) => Driver;
  /**
   * False: a driver's mistake, on purpose. No bounce limit is set, and addresses are cut to what the hardware's
   * descriptors hold.
   */
  readonly bounce?: boolean;
  /** Virtual ns until a command times out; 0: never. Default 30 s. */
  readonly timeoutNs?: number;
}

/** A controller with its driver and disks (struct Scsi_Host). */
export interface ScsiHost {
  readonly driver: Driver;
  readonly device: Device;
  readonly disks: readonly Gendisk[];
}

/** ScsiHost as this file keeps it. */
interface Host extends ScsiHost {
  readonly disks: Gendisk[];
  /** Segments that had no slot: slots of the driver's depth, and the free ones among them. */
  readonly commands: readonly ScsiCommand[];
  readonly free: ScsiCommand[];
  readonly retry: Timer;
  /** One for each line of the controller. */
  readonly irqs: readonly IrqAction[];
  readonly bounces: boolean;
  /** What findings call the place. */
  readonly where: string;
}

/** What the queue of a disk keeps as queuedata. */
class HostDisk {
  readonly host: Host;
  /** The driver's number of the disk. */
  readonly index: number;

  constructor(host: Host, index: number) {
    this.host = host;
    this.index = index;
  }
}

/** The disk behind a queue; null when its host is gone. */
function diskOf(q: RequestQueue): HostDisk | null {
  return q.queuedata instanceof HostDisk ? q.queuedata : null;
}

export function createSd(k: Linux) {
  let letters = 0;

  // ---- memory and time for the driver

  function dmaMemory(dev: Device, where: string): DmaMemory {
    const sizes = new Map<number, number>();
    return {
      alloc(bytes: number, align: number, addressBits: number): number {
        const size = Math.max(bytes, align); // whole blocks, aligned to their size
        k.dma.dma_set_coherent_mask(dev, DMA_BIT_MASK(addressBits));
        const memory = k.dma.dma_alloc_coherent(dev, size, GFP_KERNEL, where);
        if (memory === null) throw new RangeError(`${dev.name}: no ${size} bytes below 2^${addressBits}`);
        sizes.set(memory.cpu_addr, size);
        return memory.cpu_addr;
      },
      free(address: number, bytes: number): void {
        const size = sizes.get(address) ?? bytes;
        sizes.delete(address);
        k.dma.dma_free_coherent(dev, size, address, address, where);
      },
    };
  }

  // ---- from the queue to the hardware

  function prepare(q: RequestQueue, rq: Request): number {
    if (rq.cmd_type === REQ_TYPE_BLOCK_PC) return BLKPREP_OK;
    const block = q.limits.logical_block_size;
    const aligned = (rq.__sector * 512) % block === 0 && rq.__data_len % block === 0;
    return aligned ? BLKPREP_OK : BLKPREP_KILL;
  }

  /** Gives the driver what waits, as far as there are slots; under the lock. */
  function requestFn(q: RequestQueue): void {
    const found = diskOf(q);
    if (found === null) return;
    const { host, index } = found;
    let any = false;
    while (host.free.length > 0) {
      const rq = k.request.blk_peek_request(q);
      if (rq === null) break;
      k.request.blk_start_request(rq);
      if (!dispatch(host, index, rq)) {
        busy(host, q, rq);
        break;
      }
      any = true;
    }
    if (any) host.driver.kick();
  }

  /** Puts a request into a slot and the slot into the driver's hands; false: not now. */
  function dispatch(host: Host, disk: number, rq: Request): boolean {
    const command = host.free.pop();
    if (command === undefined) return false;
    command.rq = rq;
    command.disk = disk;
    rq.tag = command.tag;
    fill(command, rq);
    if (mapData(host, command, rq) && submit(host, command, rq)) return true;
    release(host, command);
    return false;
  }

  function submit(host: Host, command: ScsiCommand, rq: Request): boolean {
    const { tracer } = k.machine;
    if (!host.driver.submit(command)) return false;
    if (tracer.enabled) {
      const { tag, op, segments } = command;
      tracer.emit('driver_submit', host.device.name, {
        tag,
        op,
        bytes: rq.__data_len,
        segments: segments.count,
      });
    }
    return true;
  }

  /** The driver has the command back. */
  function done(command: ScsiCommand, again: boolean): void {
    const { tracer } = k.machine;
    if (again || command.rq === null) report('done-twice', command, 'ended once more by its driver');
    if (tracer.enabled) {
      const { tag, status, residual } = command;
      tracer.emit('driver_done', null, { tag, status, residual });
    }
    if (command.rq !== null) k.request.blk_complete_request(command.rq);
  }

  function report(rule: Rule, command: ScsiCommand, what: string): void {
    reportCommand(k.machine, rule, command, command.rq?.__data_len ?? 0, what);
  }

  function interrupt(controller: Controller, line: number, driver: Driver): boolean {
    const mine = driver.interrupt();
    const { tracer } = k.machine;
    if (tracer.enabled) tracer.emit('interrupt', controller.name, { line, mine });
    return mine;
  }

  /** Says what the command does. */
  function fill(command: ScsiCommand, rq: Request): void {
    const passthrough = rq.cmd_type === REQ_TYPE_BLOCK_PC;
    command.begin();
    if (passthrough) {
      command.op = 'scsi';
      command.cdb = rq.cmd;
      command.cdbLength = rq.cmd_len;
      command.direction = rq.__data_len === 0 ? 'none' : rq.op === READ ? 'read' : 'write';
      return;
    }
    const { logical_block_size } = rq.q.limits;
    command.lba = Math.floor((rq.__sector * 512) / logical_block_size);
    command.sectors = rq.__data_len / logical_block_size;
    command.step = stepOf(rq);
    if (command.step !== 'data') command.op = 'flush';
    else if (rq.op === REQ_OP_DISCARD) command.op = 'discard';
    else command.op = rq.op === REQ_OP_READ ? 'read' : 'write';
    command.direction = command.op === 'read' || command.op === 'write' ? command.op : 'none';
    command.fua = command.op === 'write' && (rq.cmd_flags & REQ_FUA) !== 0 && rq.q.fua;
  }

  /** A flush comes before the data that asks for it, and after data that the device cannot write past its cache. */
  function stepOf(rq: Request): ScsiCommand['step'] {
    if (rq.special !== null) return rq.special as ScsiCommand['step']; // left by stepDone()
    if (rq.op === REQ_OP_FLUSH || rq.__data_len === 0) return 'flush';
    return (rq.cmd_flags & REQ_PREFLUSH) !== 0 && rq.q.wc ? 'flush' : 'data';
  }

  /** Scatter list, DMA mapping, segments; false when the memory cannot be mapped now. */
  function mapData(host: Host, command: ScsiCommand, rq: Request): boolean {
    const { segments } = command;
    segments.count = 0;
    if (command.direction === 'none') return true;
    const { dma, scatterlist } = k;
    const { sgl } = command.table;
    rq.extra_len = 0;
    command.nents = k.merge.blk_rq_map_sg(rq.q, rq, sgl);
    command.dir = command.direction === 'read' ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
    const mapped = dma.dma_map_sg(host.device, sgl, command.nents, command.dir, host.where);
    if (mapped === 0) return false;
    command.mapped = true;
    let sg = sgl;
    for (let i = 0; i < mapped; i++) {
      const { dma_address, dma_length } = sg;
      segments.addresses[i] = host.bounces ? dma_address : narrow(host, dma_address, dma_length);
      segments.lengths[i] = dma_length;
      if (i < mapped - 1) sg = scatterlist.sg_next(sg) ?? sg;
    }
    segments.count = mapped;
    return true;
  }

  function narrow(host: Host, address: number, bytes: number): number {
    return k.dma.dma_narrow(host.device, address, bytes, host.driver.limits.addressBits, host.where);
  }

  function unmapData(host: Host, command: ScsiCommand): void {
    if (!command.mapped) return;
    command.mapped = false;
    k.dma.dma_unmap_sg(host.device, command.table.sgl, command.nents, command.dir, host.where);
  }

  function release(host: Host, command: ScsiCommand): void {
    unmapData(host, command);
    const { rq } = command;
    if (rq !== null) rq.tag = -1;
    command.rq = null;
    host.free.push(command);
  }

  /** The request waits for one that ends; when none is under way, for a moment, and not for ever. */
  function busy(host: Host, q: RequestQueue, rq: Request): void {
    const idle = host.free.length === host.commands.length;
    if (idle && rq.retries++ >= MAX_RETRIES) {
      rq.errors = -ENOMEM;
      k.request.__blk_end_request_all(rq, -EIO);
      return;
    }
    k.request.blk_requeue_request(q, rq);
    if (idle) k.scheduler.armTimer(host.retry, k.scheduler.now() + DELAY_NS);
  }

  // ---- from the hardware back

  /** The command of a request that the queue says is over: softirq_done_fn. */
  function softirqDone(rq: Request): void {
    const host = diskOf(rq.q)?.host;
    const command = host?.commands[rq.tag];
    if (host === undefined || command === undefined) return;
    unmapData(host, command);
    if (rq.cmd_type === REQ_TYPE_BLOCK_PC) endPassthrough(host, command, rq);
    else endTransfer(host, command, rq);
    runQueues(host);
  }

  function endPassthrough(host: Host, command: ScsiCommand, rq: Request): void {
    rq.errors = resultOf(command);
    rq.resid_len = Math.min(command.residual, rq.__data_len);
    rq.sense_len = Math.min(command.senseLength, rq.sense?.length ?? 0);
    for (let i = 0; i < rq.sense_len; i++) (rq.sense as Uint8Array)[i] = command.sense[i] ?? 0; // its length is not 0
    release(host, command);
    k.request.blk_end_request_all(rq, rq.errors === 0 ? 0 : -EIO);
  }

  function endTransfer(host: Host, command: ScsiCommand, rq: Request): void {
    if (command.status === 'ok' && command.residual === 0) {
      endStep(host, command, rq);
      return;
    }
    const outcome = errorOf(command);
    const good = goodBytes(command, rq);
    release(host, command);
    if (good > 0 && !k.request.blk_end_request(rq, 0, good)) return;
    if (outcome.retry && rq.retries++ < MAX_RETRIES) again(rq);
    else k.request.blk_end_request_all(rq, outcome.error);
  }

  /** One step of a request went well; ends it after the last. */
  function endStep(host: Host, command: ScsiCommand, rq: Request): void {
    const { step } = command;
    release(host, command);
    rq.special = null;
    if (step === 'flush' && rq.__data_len > 0) rq.special = 'data';
    else if (step === 'data' && needsFlushAfter(rq)) rq.special = 'flush-after';
    if (rq.special === null) k.request.blk_end_request_all(rq, 0);
    else again(rq);
  }

  function needsFlushAfter(rq: Request): boolean {
    return (rq.cmd_flags & REQ_FUA) !== 0 && rq.q.wc && !rq.q.fua && rq.op === REQ_OP_WRITE;
  }

  function again(rq: Request): void {
    const { q } = rq;
    const flags = q.queue_lock.lockIrqSave();
    k.request.blk_requeue_request(q, rq);
    q.queue_lock.unlockIrqRestore(flags);
  }

  /** Bytes at the front of a transfer that arrived although it failed: up to the sector that the sense data names. */
  function goodBytes(command: ScsiCommand, rq: Request): number {
    if (command.step !== 'data' || command.direction === 'none') return 0;
    if (command.status === 'ok') return rq.__data_len - command.residual;
    if (command.status !== 'check-condition') return 0;
    const { information } = parseSense(command.sense);
    const sectors = information - command.lba;
    if (information < 0 || sectors <= 0 || sectors >= command.sectors) return 0;
    return sectors * rq.q.limits.logical_block_size;
  }

  /** A slot is free: whoever waited for one goes on. */
  function runQueues(host: Host): void {
    const { disks } = host;
    // By index: after every request, an iterator would cost more than the look.
    for (let i = 0; i < disks.length; i++) {
      const { queue } = disks[i] as Gendisk;
      if (queue.head !== null) k.core.blk_run_queue(queue);
    }
  }

  /** In interrupt context: gives the command up. Its end may come at once, or later from the driver. */
  function timedOut(rq: Request): number {
    const host = diskOf(rq.q)?.host;
    const command = host?.commands[rq.tag];
    if (host === undefined || command === undefined) return BLK_EH_NOT_HANDLED;
    command.timedOut = true;
    if (!command.finished && k.machine.nextDeadline() === Number.POSITIVE_INFINITY) {
      report('done-lost', command, 'open, and the hardware has nothing to do');
    }
    const enabled = k.cpu.irqSave(); // timers run below the interrupt of the device
    host.driver.abort(command);
    k.cpu.irqRestore(enabled);
    return command.finished ? BLK_EH_HANDLED : BLK_EH_NOT_HANDLED;
  }

  // ---- attaching

  function addDisk(host: Host, disk: DriverDisk, index: number, timeoutNs: number): void {
    const q = k.core.blk_init_queue(requestFn);
    const { settings } = k;
    setLimits(host, q, disk);
    settings.blk_queue_prep_rq(q, prepare);
    k.request.blk_queue_softirq_done(q, softirqDone);
    settings.blk_queue_rq_timed_out(q, timedOut);
    settings.blk_queue_rq_timeout(q, timeoutNs);
    q.queuedata = new HostDisk(host, index);
    const gendisk = new Gendisk(`sd${letter(letters++)}`, q);
    gendisk.private_data = disk;
    gendisk.part0.nr_sects = (disk.sectors * disk.sectorBytes) / 512;
    host.disks.push(gendisk);
  }

  function setLimits(host: Host, q: RequestQueue, disk: DriverDisk): void {
    const { settings } = k;
    const { limits } = host.driver;
    settings.blk_queue_max_hw_sectors(q, limits.maxSectors);
    settings.blk_queue_max_segments(q, Math.min(limits.maxSegments, USHRT_MAX));
    settings.blk_queue_max_segment_size(q, limits.maxSegmentBytes);
    settings.blk_queue_segment_boundary(q, limits.boundaryMask);
    settings.blk_queue_virt_boundary(q, limits.virtBoundaryMask);
    settings.blk_queue_dma_alignment(q, Math.max(LEAST_ALIGNMENT, limits.alignmentMask));
    settings.blk_queue_logical_block_size(q, disk.sectorBytes);
    settings.blk_queue_write_cache(q, disk.writeCache, true);
    settings.blk_queue_max_discard_sectors(q, MAX_DISCARD);
    q.discard = true;
    if (host.bounces) settings.blk_queue_bounce_limit(q, DMA_BIT_MASK(limits.addressBits));
  }

  function makeCommands(driver: Driver, device: Device): ScsiCommand[] {
    return Array.from({ length: driver.limits.queueDepth }, (_, tag) => {
      const table = k.scatterlist.sg_alloc_table(driver.limits.maxSegments + 1); // and one to drain into
      return new ScsiCommand(tag, device.name, table, done);
    });
  }

  function addHost(controller: Controller, options: AttachOptions): Host {
    const device = new Device(controller);
    const where = `the driver of ${controller.name}`;
    const dma = dmaMemory(device, where);
    const attach = options.attach ?? attachDriver;
    const driver = attach({
      controller,
      memory: k.memory,
      dma,
      waitUntil: waiterOf(k.machine, k.interrupts),
    });
    const bounces = options.bounce !== false;
    k.dma.dma_set_mask_and_coherent(
      device,
      bounces ? DMA_BIT_MASK(driver.limits.addressBits) : DMA_BIT_MASK(64),
    );
    k.dma.dma_set_seg_boundary(device, driver.limits.boundaryMask);
    k.dma.dma_set_max_seg_size(device, driver.limits.maxSegmentBytes);
    const commands = makeCommands(driver, device);
    const host: Host = {
      driver,
      device,
      disks: [],
      commands,
      free: [...commands].reverse(),
      retry: new Timer(`retry of ${controller.name}`, () => runQueues(host)),
      irqs: controller.lines.map((line) =>
        k.interrupts.register(line, controller.name, () => interrupt(controller, line, driver)),
      ),
      bounces,
      where,
    };
    for (const [index, disk] of driver.disks.entries()) {
      addDisk(host, disk, index, options.timeoutNs ?? TIMEOUT_NS);
    }
    return host;
  }

  return {
    /**
     * Attaches the driver of a controller and adds its disks: `sda`, `sdb` … in the order of the driver. Throws what
     * the driver throws.
     */
    scsi_add_host(controller: Controller, options: AttachOptions = {}): ScsiHost {
      // Drivers are attached in process context.
      if (k.cpu.current !== null) return addHost(controller, options);
      return k.scheduler.complete('scsi_add_host', function* () {
        return addHost(controller, options);
      });
    },

    /**
     * Detaches a driver whose queues nobody uses any more (blk_cleanup_queue()). What is mapped then is a leak: returns
     * how many mappings that are.
     */
    scsi_remove_host(scsiHost: ScsiHost): number {
      const host = scsiHost as Host; // scsi_add_host() made it
      host.driver.detach();
      for (const irq of host.irqs) k.interrupts.free(irq);
      k.scheduler.cancelTimer(host.retry);
      for (const { queue } of host.disks) queue.queuedata = null;
      return k.dma.dma_release_device(host.device);
    },
  };
}

/** a … z, aa … */
function letter(i: number): string {
  const last = String.fromCharCode(97 + (i % 26));
  return i < 26 ? last : letter(Math.floor(i / 26) - 1) + last;
}
