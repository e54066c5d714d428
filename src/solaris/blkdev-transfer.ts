// The way of a buf through the disk driver: bound when it comes, on its way window by window, ended.
//
// Transfers are made once and used again, each with its DMA handle: a buf on its way allocates nothing here. strategy(9E)
// is a plain function; for what may sleep (memory that is not there now, a copy of the buf) a thread goes on.

import { type Sleeps, Work } from '../kernel/index.ts';
import { errorOfBind } from './blkdev-attr.ts';
import { BdCopier } from './blkdev-copy.ts';
import { BdQueue } from './blkdev-queue.ts';
import { type BdDisk, BdXfer, type Host } from './blkdev-struct.ts';
import { B_READ, type Buf } from './buf-struct.ts';
import {
  DDI_DMA_MAPPED,
  DDI_DMA_NORESOURCES,
  DDI_DMA_PARTIAL,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_READ,
  DDI_DMA_WRITE,
  DDI_SUCCESS,
} from './dma-attr.ts';
import { DDI_DMA_DONTWAIT, DDI_DMA_SLEEP, type DdiDmaHandle } from './dma-struct.ts';
import { EFAULT, ENOMEM, ENXIO } from './errno.ts';
import type { Solaris } from './kernel.ts';
import { KM_SLEEP } from './kmem.ts';
import { DEV_BSIZE } from './physio.ts';
import { Pointer } from './pointer.ts';

/** What moves bufs. `diskAt` finds the disk of a device number; null: there is none. */
export type BdTransfers = ReturnType<typeof createTransfers>;

export function createTransfers(k: Solaris, diskAt: (dev: number) => BdDisk | null) {
  const copier = new BdCopier(k);
  const queue = new BdQueue(k, commandEnded);
  const countp = new Pointer<number>();
  const offp = new Pointer<number>();
  const lenp = new Pointer<number>();

  // ---- from the buf to the hardware

  function fail(bp: Buf, error: number): void {
    k.buf.bioerror(bp, error);
    k.buf.biodone(bp);
  }

  /** DRV-03. */
  function strategy(bp: Buf): number {
    bp.b_resid = bp.b_bcount;
    const disk = diskAt(bp.b_edev);
    const start = bp.b_lblkno * DEV_BSIZE;
    const unit = disk?.about.sectorBytes ?? DEV_BSIZE;
    const end = disk?.bytes ?? -1;
    if (disk === null || bp.b_bcount % unit !== 0 || start % unit !== 0 || start < 0 || start > end) {
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
    return k.dma.ddi_dma_buf_bind_handle(xfer.handle, bp, flags, waitfp, null, null, null, where);
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
    const code = k.dmaWindow.ddi_dma_getwin(handle, window, offp, lenp, null, null);
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
      const { b_bcount: bytes, resid } = bp;
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

  return {
    queue,
    strategy,

    /** Has the disk write its cache, and waits for it: 0 or an errno. */
    *flush(disk: BdDisk): Sleeps<number> {
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
    },

    /** Gives up what a disk keeps for its transfers, none of which is in use. */
    release(disk: BdDisk): void {
      for (let xfer = takeXfer(disk); xfer !== null; xfer = takeXfer(disk)) {
        const handle = new Pointer<DdiDmaHandle>();
        handle.value = xfer.handle;
        k.dma.ddi_dma_free_handle(handle);
      }
    },
  };
}
