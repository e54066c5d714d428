// Memory for devices (section 15 of the specification).

import type { Page } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import {
  bootSolaris,
  DDI_DMA_CALLBACK_DONE,
  DDI_DMA_CONSISTENT,
  DDI_DMA_DONTWAIT,
  DDI_DMA_MAPPED,
  DDI_DMA_SLEEP,
  DDI_DMA_STREAMING,
  DDI_DMA_WRITE,
  DDI_FAILURE,
  DDI_SUCCESS,
  type DdiAccHandle,
  DevInfo,
  DMA_MEM_TAG,
  type DmaWaitfp,
  IOMEM_DATA_CACHED,
  IOMEM_DATA_UNCACHED,
  Pointer,
} from '../../src/solaris/index.ts';
import { assertBug } from '../kernel/help.ts';
import { assert, suite } from '../run/suite.ts';
import { alloc, attr, now, type Rig, type RigOptions, rig } from './dma-rig.ts';

const test = suite('solaris dma memory');

const A = 0x10000000;

interface Memory {
  readonly code: number;
  readonly kaddr: number;
  readonly real: number;
  readonly handlep: Pointer<DdiAccHandle>;
}

const make = (attr: RigOptions['attr'] = {}): Promise<Rig> => rig({ pages: [A], attr });

function mem(
  r: Rig,
  len: number,
  flags = DDI_DMA_STREAMING,
  waitfp: DmaWaitfp<null> = DDI_DMA_DONTWAIT,
): Memory {
  const [kaddr, real, handlep] = [new Pointer<number>(), new Pointer<number>(), new Pointer<DdiAccHandle>()];
  const { ddi_dma_mem_alloc } = r.solaris;
  const code = now(
    r.solaris,
    ddi_dma_mem_alloc(r.handle, len, null, flags, waitfp, null, kaddr, real, handlep),
  );
  return { code, kaddr: kaddr.value ?? -1, real: real.value ?? -1, handlep };
}

/** The pages of the memory, in order. */
function pagesOf(r: Rig, { kaddr, handlep }: Memory): Page[] {
  const { kas } = r.solaris.kernel;
  const count = (handlep.value?.bytes ?? 0) / 4096;
  return Array.from({ length: count }, (_, i) => kas.pageAt(kaddr + i * 4096) as Page);
}

test('MEM-01 no bytes, sizes that are no power of two, two kinds of caching', async () => {
  const r = await make();
  assert.is(mem(r, 0).code, DDI_FAILURE);
  for (const attr of [{ minxfer: 0 }, { align: 0 }, { minxfer: 3 }, { align: 24 }])
    assert.is(mem(await make(attr), 64).code, DDI_FAILURE);
  assert.is(mem(r, 64, IOMEM_DATA_CACHED | IOMEM_DATA_UNCACHED).code, DDI_FAILURE);
  assert.is(mem(r, 64, IOMEM_DATA_UNCACHED).code, DDI_SUCCESS);
});

test('MEM-02 MEM-03 the length is rounded to the alignment; CONSISTENT says what was asked for', async () => {
  const r = await make({ align: 64, minxfer: 16 });
  const streaming = mem(r, 100);
  assert.equal([streaming.code, streaming.real], [DDI_SUCCESS, 128]);
  assert.is(mem(r, 100, 0).real, 128);
  assert.is(mem(r, 100, DDI_DMA_CONSISTENT).real, 100);
  assert.is(streaming.kaddr % 64, 0);
});

test('MEM-02 MEM-04 few cookies: pieces that follow each other, in no two segments', async () => {
  const r = await make({ sgllen: 1, seg: 0xffff });
  const one = mem(r, 0xf000);
  assert.is(one.code, DDI_SUCCESS);
  const frames = pagesOf(r, one).map(({ pfn }) => pfn);
  frames.forEach((pfn, i) => {
    assert.is(pfn, (frames[0] ?? 0) + i);
  });
  assert.is(Math.floor((frames[0] ?? 0) / 16), Math.floor((frames.at(-1) ?? 0) / 16));
  assert.is(mem(r, 0x10001).code, DDI_FAILURE); // longer than a segment
  const two = await make({ sgllen: 2 });
  two.solaris.kernel.allocator.placement = 'scatter';
  const pieces = pagesOf(two, mem(two, 0x6000)).map(({ pfn }) => pfn);
  const breaks = pieces.filter((pfn, i) => i > 0 && pfn !== (pieces[i - 1] ?? 0) + 1).length;
  assert.ok(pieces.length === 6 && breaks <= 1);
});

test('MEM-02 MEM-03 where pieces must be few, the length is rounded to minxfer alone', async () => {
  const attr = { align: 64, minxfer: 16 };
  assert.is(mem(await make(attr), 0x1801).real, 0x1840); // any pages will do
  const one = await make({ ...attr, sgllen: 1 });
  assert.is(mem(one, 0x1801).real, 0x1810);
  assert.is(mem(one, 0x1801, DDI_DMA_CONSISTENT).real, 0x1801);
  assert.is(mem(await make({ ...attr, sgllen: 3 }), 0x1801).real, 0x1840); // two pages, and one to align
});

test('MEM-02 alignment beyond a page', async () => {
  const r = await make({ align: 0x4000 });
  r.solaris.kernel.allocator.placement = 'scatter';
  const pages = pagesOf(r, mem(r, 0x1000));
  assert.is(pages.length, 4); // the length is rounded up
  assert.is((pages[0]?.phys ?? 1) % 0x4000, 0);
});

test('MEM-04 within the addresses, and not zeroed', async () => {
  const r = await make({ addr_lo: 0x40000, addr_hi: 0xffffff });
  const { allocator } = r.solaris.kernel;
  const page = allocator.alloc({ from: 0x40000, below: 0x1000000 }) as Page;
  r.memory.fill(page.phys, 0xab, 4096);
  allocator.put(page);
  const memory = mem(r, 64);
  const byte = new Uint8Array(1);
  r.solaris.kernel.kas.read(memory.kaddr, byte);
  assert.equal([pagesOf(r, memory)[0]?.phys, byte[0]], [page.phys, 0xab]);
});

test('MEM-02 what rounding to powers of two takes too much is given back', async () => {
  const r = await make({ sgllen: 1 });
  const { allocator } = r.solaris.kernel;
  const before = allocator.freePages;
  const memory = mem(r, 0x5000);
  assert.equal([pagesOf(r, memory).length, before - allocator.freePages], [5, 5]);
  r.solaris.ddi_dma_mem_free(memory.handlep);
  assert.is(allocator.freePages, before);
});

test('MEM-04 none of the memory behind addr_hi', async () => {
  const machine = await createMachine({ ram: 'default' });
  const solaris = bootSolaris(machine);
  const dip = new DevInfo(machine.addController({ kind: 'ahci' }), 'test');
  const { allocator } = solaris.kernel;
  while (allocator.alloc({ below: 2 ** 24 }) !== null);
  assert.ok(allocator.alloc({ from: 2 ** 24, below: 2 ** 24 + 2 ** 20 }) !== null);
  const [kaddr, real, handlep] = [new Pointer<number>(), new Pointer<number>(), new Pointer<DdiAccHandle>()];
  for (const [addr_hi, code] of [
    [0xffffff, DDI_FAILURE],
    [0x10fffff, DDI_SUCCESS],
  ] as const) {
    const handle = alloc(solaris, dip, attr({ addr_hi }));
    const { ddi_dma_mem_alloc } = solaris;
    const asked = ddi_dma_mem_alloc(handle, 64, null, 0, DDI_DMA_DONTWAIT, null, kaddr, real, handlep);
    assert.is(now(solaris, asked), code);
  }
});

test('MEM-05 a device that reaches less than 16 MiB gets nothing; addr_lo is obeyed', async () => {
  assert.is(mem(await make({ addr_hi: 0xfffffe }), 64).code, DDI_FAILURE);
  const r = await make({ addr_lo: 0x3000 });
  assert.ok((pagesOf(r, mem(r, 64))[0]?.phys ?? 0) >= 0x3000);
});

test('MEM-06 CB-04 who left a function hears of ddi_dma_mem_free, not of unbinding', async () => {
  const r = await make();
  const { kernel } = r.solaris;
  const kept = mem(r, 64);
  let called = 0;
  const callback = (): number => {
    called++;
    return DDI_DMA_CALLBACK_DONE;
  };
  kernel.allocator.failures.failAll();
  assert.is(mem(r, 64, 0, callback).code, DDI_FAILURE);
  kernel.allocator.failures.off();
  const bind = r.solaris.ddi_dma_buf_bind_handle(r.handle, r.buf, 1, DDI_DMA_DONTWAIT, null, null, null);
  now(r.solaris, bind);
  r.solaris.ddi_dma_unbind_handle(r.handle);
  const settle = (): void =>
    kernel.scheduler.complete('test', function* () {
      yield* kernel.scheduler.delay(1000);
    });
  settle();
  assert.is(called, 0);
  r.solaris.ddi_dma_mem_free(kept.handlep);
  assert.is(called, 0);
  settle();
  assert.is(called, 1);
});

test('MEM-07 the memory binds whole and never bounces', async () => {
  const r = await make({ sgllen: 2, align: 512, seg: 0xffff });
  const memory = mem(r, 0x5000);
  const { ddi_dma_addr_bind_handle: byAddress } = r.solaris;
  const bind = byAddress(
    r.handle,
    null,
    memory.kaddr,
    memory.real,
    DDI_DMA_WRITE,
    DDI_DMA_DONTWAIT,
    null,
    null,
    null,
  );
  assert.is(now(r.solaris, bind), DDI_DMA_MAPPED);
  assert.ok(r.handle.binding?.fast);
  assertBug('free-mapped', () => r.solaris.ddi_dma_mem_free(memory.handlep));
  r.solaris.ddi_dma_unbind_handle(r.handle);
  r.solaris.ddi_dma_mem_free(memory.handlep);
  assert.is(r.solaris.kernel.allocator.usage().get(DMA_MEM_TAG), undefined);
  assertBug('MEM-06', () => r.solaris.ddi_dma_mem_free(memory.handlep));
});

test('MEM-08 in an interrupt without SLEEP, with SLEEP it waits', async () => {
  const r = await make();
  const { kernel } = r.solaris;
  kernel.cpu.interrupt('test', 5, () => {
    assert.is(mem(r, 64).code, DDI_SUCCESS);
    assertBug('ctx-sleep', () => mem(r, 64, 0, DDI_DMA_SLEEP));
  });
  kernel.allocator.failures.failAll();
  kernel.scheduler.spawn('relief', function* () {
    yield* kernel.scheduler.delay(2e9);
    kernel.allocator.failures.off();
  });
  const code = kernel.scheduler.complete('test', () =>
    r.solaris.ddi_dma_mem_alloc(
      r.handle,
      64,
      null,
      0,
      DDI_DMA_SLEEP,
      null,
      new Pointer(),
      new Pointer(),
      new Pointer(),
    ),
  );
  assert.is(code, DDI_SUCCESS);
  assert.ok(kernel.machine.now() >= 2e9);
});
