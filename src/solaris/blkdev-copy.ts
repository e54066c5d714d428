// DRV-08: a buf that the hardware cannot use as it lies is copied, piece by piece, through memory from
// ddi_dma_mem_alloc().

import { KernelBug, PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import type { DdiAccHandle } from './acc.ts';
import type { BdXfer } from './blkdev-struct.ts';
import { B_REMAPPED, type Buf } from './buf-struct.ts';
import { DDI_DMA_READ, DDI_DMA_STREAMING, DDI_DMA_WRITE, DDI_SUCCESS } from './dma-attr.ts';
import { DDI_DMA_DONTWAIT, DDI_DMA_SLEEP } from './dma-struct.ts';
import type { Solaris } from './kernel.ts';
import { Pointer } from './pointer.ts';

/** Bytes of the copy at most. */
const MOST_BYTES = 65536;

export class BdCopier {
  private readonly k: Solaris;

  constructor(k: Solaris) {
    this.k = k;
  }

  /** Gets the memory, and an address of the kernel for the buf; waits where it must. False: there is no such memory. */
  *open(xfer: BdXfer, bp: Buf): Sleeps<boolean> {
    const { k } = this;
    const { handle } = xfer;
    const { window, cookie, sgllen, granular } = handle.limits;
    const reach = Math.min(MOST_BYTES, window, sgllen === 1 ? cookie : sgllen * PAGE_SIZE);
    const bytes = Math.min(xfer.remaining, reach - (reach % granular));
    const [kaddrp, lengthp, copy] = [
      new Pointer<number>(),
      new Pointer<number>(),
      new Pointer<DdiAccHandle>(),
    ];
    const code = yield* k.dmaMem.ddi_dma_mem_alloc(
      handle,
      bytes,
      null,
      DDI_DMA_STREAMING,
      DDI_DMA_SLEEP,
      null,
      kaddrp,
      lengthp,
      copy,
    );
    if (code !== DDI_SUCCESS || kaddrp.value === null) return false;
    xfer.copy = copy;
    xfer.copyAddr = kaddrp.value;
    xfer.copyBytes = bytes;
    const was = bp.b_flags & B_REMAPPED;
    const from = bp.b_un.b_addr;
    yield* k.buf.bp_mapin(bp);
    if ((bp.b_flags & B_REMAPPED) !== was) xfer.mappedFrom = from;
    return true;
  }

  /** Fills the copy for the next piece of the transfer, and binds it: what binding returned. */
  bindNext(xfer: BdXfer, bp: Buf, where: string): number {
    const { k } = this;
    xfer.bytes = Math.min(xfer.copyBytes, xfer.remaining);
    if (k.machine.tracer.enabled) this.traceUse(xfer);
    if (xfer.op === 'write') this.move(this.addressOf(xfer, bp), xfer.copyAddr, xfer.bytes);
    return k.scheduler.atomic(
      k.dma.ddi_dma_addr_bind_handle(
        xfer.handle,
        null,
        xfer.copyAddr,
        xfer.bytes,
        xfer.op === 'read' ? DDI_DMA_READ : DDI_DMA_WRITE,
        DDI_DMA_DONTWAIT,
        null,
        null,
        null,
        where,
      ),
    );
  }

  /** Gives the buf what the device wrote of the piece. */
  copyOut(xfer: BdXfer, bp: Buf): void {
    if (xfer.op === 'read') this.move(xfer.copyAddr, this.addressOf(xfer, bp), xfer.bytes);
  }

  /** Gives the memory back, and the buf its address. */
  close(xfer: BdXfer, bp: Buf): void {
    const { k } = this;
    if (xfer.mappedFrom >= 0) {
      k.buf.bp_mapout(bp);
      bp.b_un.b_addr = xfer.mappedFrom;
      xfer.mappedFrom = -1;
    }
    if (xfer.copy !== null) k.dmaMem.ddi_dma_mem_free(xfer.copy);
    xfer.copy = null;
  }

  /** Where the current piece is in the buf. */
  private addressOf(xfer: BdXfer, bp: Buf): number {
    return bp.b_un.b_addr + bp.b_bcount - xfer.remaining;
  }

  /** Copies between addresses of the kernel, page by page. An interrupt may come in between, and copy, too. */
  private move(from: number, to: number, bytes: number): void {
    const { kas, memory, machine } = this.k;
    for (let done = 0; done < bytes; ) {
      const [source, target] = [from + done, to + done];
      const [fromPage, toPage] = [kas.pageAt(source), kas.pageAt(target)];
      if (fromPage === null || toPage === null)
        throw new KernelBug('BIND-05', 'the memory of a buf is not there: it is not locked', 'strategy');
      const [fromAt, toAt] = [source % PAGE_SIZE, target % PAGE_SIZE];
      const piece = Math.min(PAGE_SIZE - fromAt, PAGE_SIZE - toAt, bytes - done);
      memory.copy(toPage.phys + toAt, fromPage.phys + fromAt, piece);
      done += piece;
    }
    if (machine.tracer.enabled) machine.tracer.emit('copy', null, { why: 'blkdev', bytes });
  }

  /** The pages that stand for the buf's: those of the copy. */
  private traceUse({ copyAddr, bytes }: BdXfer): void {
    const { kas, machine } = this.k;
    for (let at = 0; at < bytes; at += PAGE_SIZE) {
      const page = kas.pageAt(copyAddr + at)?.phys ?? 0;
      const piece = Math.min(PAGE_SIZE, bytes - at);
      machine.tracer.emit('page_use', null, { page, device_page: page, bytes: piece, kind: 'copied' });
    }
  }
}
