// Disks: what stands between bufs and a driver of src/drivers, as blkdev(9E) does for drivers of block devices.
//
// A transfer is bound when its buf comes, waits for a slot of the hardware, and goes window by window. Transfers are made
// once and used again, each with its DMA handle: a buf on its way allocates nothing here. strategy(9E) is a plain
// function; for what may sleep (memory that is not there now, a copy of the buf) a thread goes on.

import { waiterOf } from '../drivers/host.ts';
import { attachDriver, type DmaMemory, type Driver, type DriverDisk } from '../drivers/index.ts';
import { KernelBug, type Sleeps, SpinLock, Timer, Work, WorkQueue } from '../kernel/index.ts';
import type { Controller } from '../machine/controller.ts';
import { MachineError } from '../machine/errors.ts';
import type { DdiAccHandle } from './acc.ts';
import { errorOfBind, rulesOf } from './blkdev-attr.ts';
import { BdCopier } from './blkdev-copy.ts';
import { BdQueue } from './blkdev-queue.ts';
import { BdDisk, type BdHost, type BdOptions, BdXfer, type Host, XferList } from './blkdev-struct.ts';
import { B_READ, B_WRITE, type Buf } from './buf-struct.ts';
import { DevInfo } from './dev-info.ts';
import {
  DDI_DMA_CONSISTENT,
  DDI_DMA_MAPPED,
  DDI_DMA_NORESOURCES,
  DDI_DMA_PARTIAL,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_RDWR,
  DDI_DMA_READ,
  DDI_DMA_WRITE,
  DDI_FAILURE,
  DDI_SUCCESS,
  type DdiDmaAttr,
  DMA_ATTR_V0,
  limitsOf,
} from './dma-attr.ts';
import { DDI_DMA_DONTWAIT, DDI_DMA_SLEEP, DdiDmaCookie, type DdiDmaHandle } from './dma-struct.ts';
import { EFAULT, EINVAL, ENOMEM, ENOTTY, ENXIO } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { KM_SLEEP } from './kmem.ts';
import { DEV_BSIZE } from './physio.ts';
import { Pointer } from './pointer.ts';
import type { Uio } from './uio.ts';

/** Virtual ns after which a command is given up. */
const TIMEOUT_NS = 30e9;
/** Name of the driver, as warnings have it. */
const DRIVER = 'blkdev';
/** Device numbers of disks: this major number, and the disk. */
const MAJOR = 190;

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
  const copier = new BdCopier(k);
  const queue = new BdQueue(k, commandEnded);
  const cookie = new DdiDmaCookie();
  const countp = new Pointer<number>();
  const offp = new Pointer<number>();
  const lenp = new Pointer<number>();
  let made = 0;

  // ---- memory for the driver

  /** Attributes of memory in one piece. */
  function sharedAttr(align: number, addressBits: number): DdiDmaAttr {
    return {
      dma_attr_version: DMA_ATTR_V0,
      dma_attr_addr_lo: 0,
      dma_attr_addr_hi: 2 ** Math.min(addressBits, 53) - 1,
      dma_attr_count_max: 0xffffffff,
      dma_attr_align: align,
      dma_attr_burstsizes: 1,
      dma_attr_minxfer: 1,
      dma_attr_maxxfer: 0xffffffff,
      dma_attr_seg: 0xffffffff,
      dma_attr_sgllen: 1,
      dma_attr_granular: 1,
      dma_attr_flags: 0,
    };
  }

  function dmaMemory(dip: DevInfo, where: string): DmaMemory {
    const shared = new Map<number, { handle: Pointer<DdiDmaHandle>; acc: Pointer<DdiAccHandle> }>();
    return {
      alloc(bytes: number, align: number, addressBits: number): number {
        const { name } = dip.controller;
        const [handle, acc] = [new Pointer<DdiDmaHandle>(), new Pointer<DdiAccHandle>()];
        const memory = allocShared(dip, sharedAttr(align, addressBits), bytes, where, handle, acc);
        if (memory === null) throw new RangeError(`${name}: no ${bytes} bytes below 2^${addressBits}`);
        shared.set(memory, { handle, acc });
        k.memory.fill(memory, 0, bytes);
        return memory;
      },
      free(address: number): void {
        const found = shared.get(address);
        if (found === undefined || found.handle.value === null)
          throw new KernelBug('MEM-06', `nothing was allocated at 0x${address.toString(16)}`, where);
        shared.delete(address);
        k.dma.ddi_dma_unbind_handle(found.handle.value);
        k.dmaMem.ddi_dma_mem_free(found.acc);
        k.dma.ddi_dma_free_handle(found.handle);
      },
    };
  }

  /** The address of memory that is bound for good; null when there is none. */
  function allocShared(
    dip: DevInfo,
    attr: DdiDmaAttr,
    bytes: number,
    where: string,
    handlep: Pointer<DdiDmaHandle>,
    acc: Pointer<DdiAccHandle>,
  ): number | null {
    const { dma, dmaMem, scheduler } = k;
    const [kaddr, real] = [new Pointer<number>(), new Pointer<number>()];
    const none = DDI_DMA_DONTWAIT;
    scheduler.atomic(dma.ddi_dma_alloc_handle(dip, attr, none, null, handlep));
    const handle = handlep.value;
    if (handle === null) return null;
    const flags = DDI_DMA_CONSISTENT;
    const code = scheduler.atomic(
      dmaMem.ddi_dma_mem_alloc(handle, bytes, null, flags, none, null, kaddr, real, acc),
    );
    if (code === DDI_SUCCESS && kaddr.value !== null) {
      const { value } = kaddr;
      const way = DDI_DMA_RDWR | flags;
      const bound = scheduler.atomic(
        dma.ddi_dma_addr_bind_handle(handle, null, value, bytes, way, none, null, cookie, countp, where),
      );
      if (bound === DDI_DMA_MAPPED) return cookie.dmac_laddress;
      dmaMem.ddi_dma_mem_free(acc);
    }
    dma.ddi_dma_free_handle(handlep);
    return null;
  }

  // ---- from the buf to the hardware

  function fail(bp: Buf, error: number): void {
    k.buf.bioerror(bp, error);
    k.buf.biodone(bp);
  }

  /** DRV-03. */
  function strategy(bp: Buf): number {
    bp.b_resid = bp.b_bcount;
    const disk = disks.get(bp.b_edev);
    const start = bp.b_lblkno * DEV_BSIZE;
    const unit = disk?.about.sectorBytes ?? DEV_BSIZE;
    const end = disk?.bytes ?? -1;
    if (disk === undefined || bp.b_bcount % unit !== 0 || start % unit !== 0 || start < 0 || start > end) {
      fail(bp, ENXIO);
      return 0;
    }
    if (start === end || bp.b_bcount === 0) {
      k.buf.biodone(bp);
      return 0;
    }
    bp.b_resid = Math.max(0, start + bp.b_bcount - end);
    bp.b_bcount -= bp.b_resid;
    const { tracer } = k.machine;
    if (tracer.enabled) {
      const { b_lblkno: block, b_bcount: bytes } = bp;
      tracer.emit('buf_start', null, { disk: disk.name, op: opOf(bp), block, bytes });
    }
    disk.busy++;
    begin(disk, bp, start / unit);
    return 0;
  }

  /** Binds the buf at once if that takes no sleep; otherwise the thread does it. */
  function begin(disk: BdDisk, bp: Buf, lba: number): void {
    const xfer = takeXfer(disk) ?? k.scheduler.atomic(makeXfer(disk, DDI_DMA_DONTWAIT));
    const { align, copies } = disk.rules;
    if (xfer !== null && !copies && bp.b_un.b_addr % align === 0) {
      xfer.begin(bp, opOf(bp), lba, bp.b_bcount);
      const code = k.scheduler.atomic(bindBuf(xfer, bp, DDI_DMA_DONTWAIT));
      if (code !== DDI_DMA_NORESOURCES) {
        bound(xfer, bp, code);
        return;
      }
    }
    if (xfer !== null) disk.free.push(xfer);
    disk.host.thread.queue(new Work('strategy', () => beginSlowly(disk, bp, lba)));
  }

  function* beginSlowly(disk: BdDisk, bp: Buf, lba: number): Sleeps<void> {
    const xfer = takeXfer(disk) ?? (yield* makeXfer(disk, DDI_DMA_SLEEP));
    if (xfer === null) {
      disk.busy--;
      bp.b_resid += bp.b_bcount;
      fail(bp, ENOMEM);
      return;
    }
    xfer.begin(bp, opOf(bp), lba, bp.b_bcount);
    const { align, copies } = disk.rules;
    if (!copies && bp.b_un.b_addr % align === 0) {
      bound(xfer, bp, yield* bindBuf(xfer, bp, DDI_DMA_SLEEP));
    } else if (yield* copier.open(xfer, bp)) {
      bound(xfer, bp, copier.bindNext(xfer, bp, disk.host.where));
    } else {
      bound(xfer, bp, DDI_DMA_NORESOURCES);
    }
  }

  function opOf({ b_flags }: Buf): 'read' | 'write' {
    return (b_flags & B_READ) !== 0 ? 'read' : 'write';
  }

  function bindBuf(
    xfer: BdXfer,
    bp: Buf,
    waitfp: typeof DDI_DMA_SLEEP | typeof DDI_DMA_DONTWAIT,
  ): Sleeps<number> {
    const flags = (xfer.op === 'read' ? DDI_DMA_READ : DDI_DMA_WRITE) | DDI_DMA_PARTIAL;
    const { where } = xfer.owner.host;
    return k.dma.ddi_dma_buf_bind_handle(xfer.handle, bp, flags, waitfp, null, cookie, countp, where);
  }

  /** What follows binding: the first window is on its way, or the buf ends. */
  function bound(xfer: BdXfer, bp: Buf, code: number): void {
    if (code !== DDI_DMA_MAPPED && code !== DDI_DMA_PARTIAL_MAP) {
      bp.b_resid += xfer.remaining;
      end(xfer, bp, errorOfBind(code));
      return;
    }
    if (code === DDI_DMA_PARTIAL_MAP) {
      k.dmaWindow.ddi_dma_numwin(xfer.handle, countp);
      xfer.windows = countp.value ?? 1;
    }
    if (load(xfer)) queue.add(xfer);
    else cut(xfer, bp);
  }

  /** Makes the command of the current window's cookies; false: it is not one of whole sectors. */
  function load(xfer: BdXfer): boolean {
    const { segments, owner, handle } = xfer;
    const count = k.dmaWindow.ddi_dma_ncookies(handle);
    let bytes = 0;
    let next = k.dmaWindow.ddi_dma_cookie_iter(handle, null);
    for (let i = 0; i < count && next !== null; i++) {
      const { dmac_laddress, dmac_size } = next;
      segments.addresses[i] = owner.host.bounces
        ? dmac_laddress
        : narrow(owner.host, dmac_laddress, dmac_size);
      segments.lengths[i] = dmac_size;
      bytes += dmac_size;
      next = k.dmaWindow.ddi_dma_cookie_iter(handle, next);
    }
    segments.count = count;
    xfer.bytes = bytes;
    xfer.sectors = bytes / owner.about.sectorBytes;
    return bytes % owner.about.sectorBytes === 0;
  }

  /** What a descriptor holds of an address, when the driver has forgotten that it is short of lines. */
  function narrow({ dip, driver, where }: Host, address: number, bytes: number): number {
    const { addressBits } = driver.limits;
    const limit = 2 ** Math.min(addressBits, 53);
    if (address + bytes <= limit) return address;
    const { name } = dip.controller;
    k.machine.guard.report({
      rule: 'map-mask',
      message: `${name}: the address is cut to ${addressBits} bits, in ${where}`,
      device: name,
      address,
      length: bytes,
    });
    return address % limit;
  }

  // ---- from the hardware back

  /** DRV-06, DRV-07: a window has ended. */
  function commandEnded(xfer: BdXfer, error: number): void {
    const { bp } = xfer;
    if (bp === null) return;
    if (error !== 0) {
      bp.b_resid += xfer.remaining;
      end(xfer, bp, error);
    } else if (xfer.op === 'flush') {
      end(xfer, bp, 0);
    } else if (xfer.copy !== null) {
      copied(xfer, bp);
    } else {
      xfer.remaining -= xfer.bytes;
      xfer.lba += xfer.sectors;
      if (xfer.remaining === 0) end(xfer, bp, 0);
      else if (nextWindow(xfer)) queue.add(xfer);
      else cut(xfer, bp);
    }
  }

  function nextWindow(xfer: BdXfer): boolean {
    xfer.window++;
    const { handle, window } = xfer;
    const code = k.dmaWindow.ddi_dma_getwin(handle, window, offp, lenp, cookie, countp);
    return code === DDI_SUCCESS && load(xfer);
  }

  /** A piece of the copy has ended. */
  function copied(xfer: BdXfer, bp: Buf): void {
    k.dma.ddi_dma_unbind_handle(xfer.handle);
    copier.copyOut(xfer, bp);
    xfer.remaining -= xfer.bytes;
    xfer.lba += xfer.sectors;
    if (xfer.remaining === 0) end(xfer, bp, 0);
    else bound(xfer, bp, copier.bindNext(xfer, bp, xfer.owner.host.where));
  }

  /** DRV-06: the rest of the buf cannot be moved. */
  function cut(xfer: BdXfer, bp: Buf): void {
    bp.b_resid += xfer.remaining;
    end(xfer, bp, EFAULT);
  }

  /** The transfer is over: its memory is the caller's again before the caller is told. */
  function end(xfer: BdXfer, bp: Buf, error: number): void {
    const { owner } = xfer;
    if (xfer.handle.binding !== null) k.dma.ddi_dma_unbind_handle(xfer.handle);
    copier.close(xfer, bp);
    xfer.bp = null;
    owner.free.push(xfer);
    owner.busy--;
    const { tracer } = k.machine;
    if (tracer.enabled && xfer.op !== 'flush') {
      const { b_bcount: bytes, b_resid: resid } = bp;
      tracer.emit('buf_done', null, { disk: owner.name, op: xfer.op, bytes, resid, error });
    }
    if (error !== 0) fail(bp, error);
    else k.buf.biodone(bp);
  }

  // ---- transfers

  function takeXfer(disk: BdDisk): BdXfer | null {
    return disk.free.shift();
  }

  function* makeXfer(
    disk: BdDisk,
    waitfp: typeof DDI_DMA_SLEEP | typeof DDI_DMA_DONTWAIT,
  ): Sleeps<BdXfer | null> {
    const handle = new Pointer<DdiDmaHandle>();
    yield* k.dma.ddi_dma_alloc_handle(disk.host.dip, disk.rules.attr, waitfp, null, handle);
    return handle.value === null ? null : new BdXfer(disk.made++, disk, handle.value, queue);
  }

  // ---- attaching

  function interrupt(host: Host, line: number): boolean {
    const mine = host.driver.interrupt();
    const { tracer } = k.machine;
    if (tracer.enabled) tracer.emit('interrupt', host.dip.controller.name, { line, mine });
    queue.settle(host);
    return mine;
  }

  function addDisk(host: Host, about: DriverDisk, index: number): void {
    const rules = rulesOf(host.driver.limits, about.sectorBytes, host.bounces);
    const { name } = host.dip.controller;
    if (limitsOf(rules.attr) === null)
      throw new MachineError(
        `the driver of ${name} has limits that no DMA attributes can say: segments, boundaries and commands must hold a page`,
      );
    const disk = new BdDisk(`blk${made}`, MAJOR * 2 ** 32 + made, host, index, about, rules);
    made++;
    disks.set(disk.dev, disk);
    host.disks.push(disk);
  }

  function attach(controller: Controller, options: BdOptions): Host {
    const dip = new DevInfo(controller, DRIVER);
    const where = `the driver of ${controller.name}`;
    const attachIt = options.attach ?? attachDriver;
    const dma = dmaMemory(dip, where);
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
    host.irqs = controller.lines.map((line) =>
      k.interrupts.register(line, controller.name, () => interrupt(host, line)),
    );
    for (const [index, disk] of driver.disks.entries()) addDisk(host, disk, index);
    return host;
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
      mapping: guard.mapping(first.binding?.guarded[0] ?? 0),
    });
    for (const handle of left) k.dma.ddi_dma_unbind_handle(handle);
  }

  /** Has the disk write its cache; waits for it. */
  function* flush(disk: BdDisk): Sleeps<number> {
    const bp = yield* k.buf.getrbuf(KM_SLEEP);
    const xfer = takeXfer(disk) ?? (yield* makeXfer(disk, DDI_DMA_SLEEP));
    if (bp === null || xfer === null) return ENOMEM; // which KM_SLEEP is not
    disk.busy++;
    bp.b_edev = disk.dev;
    xfer.begin(bp, 'flush', 0, 0);
    queue.add(xfer);
    const error = yield* k.buf.biowait(bp);
    k.buf.freerbuf(bp);
    return error;
  }

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

  /** read(2) and write(2) of a raw disk: whole sectors, straight between it and the memory of the uio. */
  function* raw(dev: number, rw: number, uio: Uio): Sleeps<number> {
    const disk = disks.get(dev);
    if (disk === undefined) return ENXIO;
    const { sectorBytes } = disk.about;
    // physio() counts in blocks of 512 bytes and would begin at another place.
    if (uio.uio_loffset % sectorBytes !== 0 || uio.uio_resid % sectorBytes !== 0) return EINVAL;
    return yield* k.physio.physio(strategy, null, dev, rw, k.physio.minphys, uio);
  }

  return {
    /**
     * Attaches the driver of a controller and makes its disks known. User or kernel context, or before there is any.
     * @throws MachineError when DMA attributes cannot say the limits of the driver; and what the driver throws
     */
    bd_attach(controller: Controller, options: BdOptions = {}): BdHost {
      if (k.cpu.current !== null) return attach(controller, options);
      return k.scheduler.complete('bd_attach', function* () {
        return attach(controller, options);
      });
    },

    /**
     * Detaches the driver: DDI_SUCCESS, or DDI_FAILURE while transfers are under way. From then on bufs for its disks
     * end with ENXIO. What the driver does not give back is reported as leaked.
     */
    bd_detach(bdHost: BdHost): number {
      const host = bdHost as Host; // bd_attach() made it
      if (host.disks.some(({ busy }) => busy > 0)) return DDI_FAILURE;
      for (const disk of host.disks) {
        disks.delete(disk.dev);
        for (let xfer = disk.free.shift(); xfer !== null; xfer = disk.free.shift()) {
          const handle = new Pointer<DdiDmaHandle>();
          handle.value = xfer.handle;
          k.dma.ddi_dma_free_handle(handle);
        }
      }
      host.driver.detach();
      releaseBindings(host.dip);
      for (const irq of host.irqs) k.interrupts.free(irq);
      k.scheduler.cancelTimer(host.retry);
      return DDI_SUCCESS;
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

    /** write(9E) of disks, as bd_read(). */
    *bd_write(dev: number, uio: Uio): Sleeps<number> {
      return yield* raw(dev, B_WRITE, uio);
    },

    /**
     * ioctl(9E) of disks: DKIOCGMEDIAINFO fills in a struct dk_minfo at `arg`, DKIOCFLUSHWRITECACHE waits until the
     * disk's cache is on the medium. User context.
     * @returns 0, ENXIO (no such disk), ENOTTY (no such command), EFAULT, or the error of the disk
     */
    *bd_ioctl(dev: number, cmd: number, arg: number, mode = 0): Sleeps<number> {
      const disk = disks.get(dev);
      if (disk === undefined) return ENXIO;
      if (cmd === DKIOCGMEDIAINFO) return yield* giveMediaInfo(disk, arg, mode);
      return cmd === DKIOCFLUSHWRITECACHE ? yield* flush(disk) : ENOTTY;
    },
  };
}
