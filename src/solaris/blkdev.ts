// The disk driver: what stands between bufs and a driver of src/drivers, as blkdev(9E) does for drivers of block devices.
// Here are its entry points and its devices; what it does with a buf is in blkdev-transfer.ts.

import { waiterOf } from '../drivers/host.ts';
import { attachDriver, type Driver, type DriverDisk } from '../drivers/index.ts';
import { KernelBug, type Sleeps, SpinLock, Timer, WorkQueue } from '../kernel/index.ts';
import type { Controller } from '../machine/controller.ts';
import { MachineError } from '../machine/errors.ts';
import type { AioReq } from './aio.ts';
import { rulesOf } from './blkdev-attr.ts';
import { sharedMemory } from './blkdev-shared.ts';
import { BdDisk, type BdHost, type BdOptions, type Host, XferList } from './blkdev-struct.ts';
import { createTransfers } from './blkdev-transfer.ts';
import { B_READ, B_WRITE, type Buf } from './buf-struct.ts';
import { DevInfo, S_IFBLK, S_IFCHR } from './dev-info.ts';
import {
  CB_REV,
  type CbOps,
  D_64BIT,
  D_MP,
  D_NEW,
  DDI_NT_BLOCK,
  DEVO_REV,
  makedevice,
  nulldev,
} from './dev-ops.ts';
import { DDI_FAILURE, DDI_SUCCESS, limitsOf } from './dma-attr.ts';
import { EFAULT, EINVAL, ENOTTY, ENXIO } from './errno.ts';
import { DDI_INTR_ALLOC_STRICT, DDI_INTR_CLAIMED, DDI_INTR_TYPE_FIXED, DDI_INTR_UNCLAIMED } from './intr.ts';
import type { Solaris } from './kernel.ts';
import { Pointer } from './pointer.ts';
import type { Uio } from './uio.ts';

/** Virtual ns after which a command is given up. */
const TIMEOUT_NS = 30e9;
/** Name of the driver. */
const DRIVER = 'blkdev';
/** Minor numbers of one instance: its disks. */
const MINORS = 64;

// Commands of ioctl(2) for disks (dkio(7I)).
const DKIOC = 0x400;
/** Have the disk write its cache to the medium. */
export const DKIOCFLUSHWRITECACHE = DKIOC | 34;
/** What is the medium? A struct dk_minfo. */
export const DKIOCGMEDIAINFO = DKIOC | 42;
/** dki_media_type of a fixed disk. */
export const DK_FIXED_DISK = 0x10001;
/** struct dk_minfo: type and block size of 32 bits, capacity in blocks of 64. */
const MINFO_WORDS = 4;

export function createBlkdev(k: Solaris) {
  const disks = new Map<number, BdDisk>();
  const transfers = createTransfers(k, (dev) => disks.get(dev) ?? null);
  const { queue, strategy } = transfers;
  /** What bd_attach() wants of the attach entry point, and what that has made of it. */
  const wanted = new Map<DevInfo, BdOptions>();
  const hosts = new Map<DevInfo, Host>();
  let failure: unknown = null;
  let made = 0;

  // ---- devices

  function interrupt(host: Host, line: number): number {
    const mine = host.driver.interrupt();
    const { tracer } = k.machine;
    if (tracer.enabled) tracer.emit('interrupt', host.dip.controller.name, { line, mine });
    queue.settle(host);
    return mine ? DDI_INTR_CLAIMED : DDI_INTR_UNCLAIMED;
  }

  function addInterrupts(host: Host): void {
    const { dip, irqs } = host;
    const { lines } = dip.controller;
    const actual = new Pointer<number>();
    const { intr } = k;
    intr.ddi_intr_alloc(dip, irqs, DDI_INTR_TYPE_FIXED, 0, lines.length, actual, DDI_INTR_ALLOC_STRICT);
    for (const irq of irqs) {
      intr.ddi_intr_add_handler(irq, interrupt, host, irq.line);
      intr.ddi_intr_enable(irq);
    }
  }

  function removeInterrupts({ irqs }: Host): void {
    for (const irq of irqs) {
      k.intr.ddi_intr_disable(irq);
      k.intr.ddi_intr_remove_handler(irq);
      k.intr.ddi_intr_free(irq);
    }
  }

  function addDisk(host: Host, about: DriverDisk, index: number): void {
    const { dip } = host;
    const rules = rulesOf(host.driver.limits, about.sectorBytes, host.bounces);
    if (limitsOf(rules.attr) === null)
      throw new MachineError(
        `the driver of ${dip.controller.name} has limits that no DMA attributes can say: segments, boundaries and commands must hold a page`,
      );
    const minor = k.ddi.ddi_get_instance(dip) * MINORS + index;
    const dev = makedevice(k.ddi.ddi_driver_major(dip), minor);
    const disk = new BdDisk(`blk${made}`, dev, host, index, about, rules);
    k.ddi.ddi_create_minor_node(dip, `d${index}`, S_IFBLK, minor, DDI_NT_BLOCK, 0);
    k.ddi.ddi_create_minor_node(dip, `d${index},raw`, S_IFCHR, minor, DDI_NT_BLOCK, 0);
    made++;
    disks.set(dev, disk);
    host.disks.push(disk);
  }

  function makeHost(dip: DevInfo, options: BdOptions): Host {
    const { controller } = dip;
    const where = `the driver of ${controller.name}`;
    const attachIt = options.attach ?? attachDriver;
    const dma = sharedMemory(k, dip, where);
    const waitUntil = waiterOf(k.machine, k.interrupts);
    const driver: Driver = attachIt({ controller, memory: k.memory, dma, waitUntil });
    const host: Host = {
      driver,
      dip,
      disks: [],
      bounces: options.bounce !== false,
      timeoutNs: options.timeoutNs ?? TIMEOUT_NS,
      where,
      lock: new SpinLock(k.cpu, `bd ${controller.name}`),
      active: 0,
      turn: 0,
      ended: new XferList(),
      settling: false,
      retry: new Timer(`retry of ${controller.name}`, () => {
        queue.start(host);
        queue.settle(host);
      }),
      thread: new WorkQueue(k.scheduler, `bd ${controller.name}`),
      irqs: [],
    };
    return host;
  }

  /** attach(9E). What the driver throws, bd_attach() throws on. */
  function attach(dip: DevInfo): number {
    let host: Host | null = null;
    try {
      host = makeHost(dip, wanted.get(dip) ?? {});
      for (const [index, disk] of host.driver.disks.entries()) addDisk(host, disk, index);
    } catch (error) {
      failure = error;
      for (const { dev } of host?.disks ?? []) disks.delete(dev);
      host?.driver.detach();
      return DDI_FAILURE;
    }
    addInterrupts(host);
    hosts.set(dip, host);
    return DDI_SUCCESS;
  }

  /** What the driver did not give back is a leak, and goes with the device. */
  function releaseBindings(dip: DevInfo): void {
    const left = [...k.dma.dma_bound()].filter((handle) => handle.dip === dip);
    const [first] = left;
    if (first === undefined) return;
    const { guard } = k.machine;
    guard.report({
      rule: 'map-leak',
      message: `${dip.controller.name}: ${left.length} bindings left, the first by ${first.binding?.kind}`,
      device: dip.controller.name,
      mapping: first.binding === null ? null : (k.dmaGuard?.mappingOf(first.binding) ?? null),
    });
    for (const handle of left) k.dma.ddi_dma_unbind_handle(handle);
  }

  /** detach(9E): not while transfers are under way. */
  function detach(dip: DevInfo): number {
    const host = hosts.get(dip);
    if (host === undefined || host.disks.some(({ busy }) => busy > 0)) return DDI_FAILURE;
    for (const disk of host.disks) {
      disks.delete(disk.dev);
      transfers.release(disk);
    }
    host.driver.detach();
    releaseBindings(dip);
    removeInterrupts(host);
    k.scheduler.cancelTimer(host.retry);
    hosts.delete(dip);
    return DDI_SUCCESS;
  }

  /** quiesce(9E): a controller that was reset touches memory no more. */
  function quiesce(dip: DevInfo): number {
    hosts.get(dip)?.driver.reset();
    return DDI_SUCCESS;
  }

  /** Has the system call an entry point that does not sleep, from wherever we are. */
  function call(name: string, body: () => Sleeps<number>): number {
    if (k.cpu.current === null) return k.scheduler.complete(name, body);
    const { done, value } = body().next();
    if (done !== true) throw new KernelBug('ctx-sleep', 'sleeps', name);
    return value;
  }

  // ---- entry points

  /** Fills in a struct dk_minfo. */
  function* giveMediaInfo({ about }: BdDisk, arg: number, mode: number): Sleeps<number> {
    const words = new Uint32Array(MINFO_WORDS);
    words[0] = DK_FIXED_DISK;
    words[1] = about.sectorBytes;
    words[2] = about.sectors % 2 ** 32;
    words[3] = Math.floor(about.sectors / 2 ** 32);
    const bytes = new Uint8Array(words.buffer);
    return (yield* k.copy.ddi_copyout(bytes, arg, bytes.length, mode)) === 0 ? 0 : EFAULT;
  }

  function checkUio(dev: number, uio: Uio): number {
    const disk = disks.get(dev);
    if (disk === undefined) return ENXIO;
    const { sectorBytes } = disk.about;
    // physio() counts in blocks of 512 bytes and would begin at another place.
    return uio.uio_loffset % sectorBytes !== 0 || uio.uio_resid % sectorBytes !== 0 ? EINVAL : 0;
  }

  /** read(2) and write(2) of a raw disk: whole sectors, straight between it and the memory of the uio. */
  function* raw(dev: number, rw: number, uio: Uio): Sleeps<number> {
    const error = checkUio(dev, uio);
    return error !== 0 ? error : yield* k.physio.physio(strategy, null, dev, rw, k.physio.minphys, uio);
  }

  function* rawAsync(dev: number, rw: number, req: AioReq): Sleeps<number> {
    const error = checkUio(dev, req.aio_uio);
    if (error !== 0) return error;
    return yield* k.aio.aphysio(strategy, k.aio.anocancel, dev, rw, k.physio.minphys, req);
  }

  function* ioctl(dev: number, cmd: number, arg: number, mode: number): Sleeps<number> {
    const disk = disks.get(dev);
    if (disk === undefined) return ENXIO;
    if (cmd === DKIOCGMEDIAINFO) return yield* giveMediaInfo(disk, arg, mode);
    return cmd === DKIOCFLUSHWRITECACHE ? yield* transfers.flush(disk) : ENOTTY;
  }

  const cb_ops: CbOps = {
    cb_open: (devp) => (disks.has(devp.value ?? -1) ? 0 : ENXIO),
    cb_close: nulldev,
    cb_strategy: strategy,
    cb_read: (dev, uio) => raw(dev, B_READ, uio),
    cb_write: (dev, uio) => raw(dev, B_WRITE, uio),
    cb_aread: (dev, req) => rawAsync(dev, B_READ, req),
    cb_awrite: (dev, req) => rawAsync(dev, B_WRITE, req),
    cb_ioctl: ioctl,
    cb_rev: CB_REV,
    cb_flag: D_NEW | D_MP | D_64BIT,
  };
  const modldrv = {
    drv_name: DRIVER,
    drv_linkinfo: 'disks',
    drv_dev_ops: {
      devo_rev: DEVO_REV,
      devo_attach: attach,
      devo_detach: detach,
      devo_quiesce: quiesce,
      devo_cb_ops: cb_ops,
    },
  };

  return {
    /**
     * Attaches the driver of a controller and makes its disks known, as `/devices/blkdev@0:d0` and `d0,raw` …: see
     * BdDisk.path. User or kernel context, or before there is any.
     * @throws MachineError when DMA attributes cannot say the limits of the driver; and what the driver throws
     */
    bd_attach(controller: Controller, options: BdOptions = {}): BdHost {
      k.ddi.mod_install(modldrv); // nothing comes of it from the second time on
      const dip = new DevInfo(controller, DRIVER);
      wanted.set(dip, options);
      failure = null;
      call('bd_attach', () => k.ddi.devi_attach(dip));
      wanted.delete(dip);
      const host = hosts.get(dip);
      if (host === undefined) throw failure;
      return host;
    },

    /**
     * Detaches the driver: DDI_SUCCESS, or DDI_FAILURE while transfers are under way or a disk is open. From then on bufs
     * for its disks end with ENXIO. What the driver does not give back is reported (`map-leak`). User or kernel
     * context.
     */
    bd_detach({ dip }: BdHost): number {
      return call('bd_detach', () => k.ddi.devi_detach(dip));
    },

    /**
     * strategy(9E) of disks: what b_edev says. Moves b_bcount bytes from block b_lblkno (of 512 bytes) on; what lies
     * beyond the end is cut off b_bcount and counted in b_resid. Ends with ENXIO for no such disk, a part of a sector or
     * a start beyond the end; EAGAIN or EFAULT when the memory cannot be bound; EIO, or ENXIO when the device is gone.
     * Any context but a high-level interrupt; never sleeps.
     * @returns 0
     */
    bd_strategy(bp: Buf): number {
      return strategy(bp);
    },

    /**
     * read(9E) of disks: physio(). User context.
     * @returns 0, ENXIO (no such disk), EINVAL (no whole sectors), or what physio() returns
     */
    *bd_read(dev: number, uio: Uio): Sleeps<number> {
      return yield* raw(dev, B_READ, uio);
    },

    /** write(9E) of disks, as bd_read(). User context. */
    *bd_write(dev: number, uio: Uio): Sleeps<number> {
      return yield* raw(dev, B_WRITE, uio);
    },

    /**
     * ioctl(9E) of disks: DKIOCGMEDIAINFO fills in a struct dk_minfo at `arg`, DKIOCFLUSHWRITECACHE waits until the
     * disk's cache is on the medium. User context.
     * @param mode FKIOCTL: `arg` is an address of the kernel
     * @returns 0, ENXIO (no such disk), ENOTTY (no such command), EFAULT, or the error of the disk
     */
    *bd_ioctl(dev: number, cmd: number, arg: number, mode = 0): Sleeps<number> {
      return yield* ioctl(dev, cmd, arg, mode);
    },
  };
}
