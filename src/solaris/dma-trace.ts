// What a binding tells who listens to the machine's events. Called while the tracer is on only.

import { PAGE_SIZE } from '../kernel/index.ts';
import { B_PAGEIO } from './buf-struct.ts';
import { DDI_DMA_RDWR, DDI_DMA_READ } from './dma-attr.ts';
import { DIRECT, type Run } from './dma-plan.ts';
import type { Binding } from './dma-struct.ts';
import type { Solaris } from './kernel.ts';

/** Memory is bound: each of its pages, with what the device is given for it, if it is a buf's; and what it took. */
export function traceBind(k: Solaris, binding: Binding, device: string): void {
  const { tracer } = k.machine;
  const { buf, windows, copies, bytes, flags } = binding;
  if (buf !== null) {
    const own = buf.b_proc !== null || (buf.b_flags & B_PAGEIO) !== 0;
    eachPage(binding, (page, piece, slot) => {
      const copy = slot === DIRECT ? undefined : copies[slot];
      const kind = copy !== undefined ? 'bounced' : own ? 'direct' : 'copied';
      tracer.emit('page_use', null, { page, device_page: copy?.phys ?? page, bytes: piece, kind });
    });
  }
  const both = (flags & DDI_DMA_RDWR) === DDI_DMA_RDWR;
  const way = (flags & DDI_DMA_READ) !== 0 ? 'from device' : 'to device';
  tracer.emit('dma_bind', device, {
    bytes,
    windows: windows.length,
    copy_pages: copies.length,
    direction: both ? 'both' : way,
  });
}

/** A window becomes the current one. */
export function traceWindow(k: Solaris, { cookies, window, current }: Binding, device: string): void {
  const { tracer } = k.machine;
  for (const { index, dmac_laddress: bus, dmac_size: bytes } of cookies) {
    tracer.emit('dma_cookie', device, {
      bus,
      memory: window?.runs[index]?.phys ?? bus,
      bytes,
      window: current,
    });
  }
}

/** Calls `each` for every page of the object, once where a window ends inside it. */
function eachPage({ windows }: Binding, each: (page: number, bytes: number, slot: number) => void): void {
  let last = -1; // where the piece before this one ended, if that was inside a page
  for (const { runs } of windows) {
    for (const run of runs) {
      eachPiece(run, (phys, bytes) => {
        if (phys !== last) each(phys - (phys % PAGE_SIZE), bytes, run.slot);
        last = (phys + bytes) % PAGE_SIZE === 0 ? -1 : phys + bytes;
      });
    }
  }
}

/** Calls `each` for every page that a run touches. */
function eachPiece(run: Run, each: (phys: number, bytes: number) => void): void {
  const end = run.phys + run.bytes;
  for (let phys = run.phys; phys < end; ) {
    const next = Math.min(phys - (phys % PAGE_SIZE) + PAGE_SIZE, end);
    each(phys, next - phys);
    phys = next;
  }
}
