import { KernelBug, type Page } from '../../src/kernel/index.ts';
import {
  bootLinux,
  Device,
  DMA_BIDIRECTIONAL,
  DMA_BIT_MASK,
  DMA_ERROR_CODE,
  DMA_FROM_DEVICE,
  DMA_NONE,
  DMA_TO_DEVICE,
  EIO,
  GFP_KERNEL,
  IO_TLB_OVERFLOW,
  type LinuxOptions,
  type Scatterlist,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('linux dma-mapping');

const GIB4 = 2 ** 32;
const POOL = 16 * 4096;

/** A device with 32 address bits, on a machine with memory above. */
async function boot(options: LinuxOptions = {}, guard = false) {
  const machine = await createMachine({ guard });
  const controller = machine.addController({ kind: 'ahci' });
  const linux = bootLinux(machine, { swiotlb: { bytes: POOL }, ...options });
  const dev = new Device(controller);
  const { allocator } = linux.kernel;
  const low = (order = 0): Page => allocator.alloc({ below: GIB4, order }) as Page;
  const high = (order = 0): Page => allocator.alloc({ from: GIB4, order }) as Page;
  return { machine, linux, dev, low, high, memory: machine.memory };
}

const isBug = (rule: string) => (error: unknown) => error instanceof KernelBug && error.rule === rule;

test('DMA-01 what the device reaches is mapped where it is, and the mapping is good', async () => {
  const { linux, dev, low } = await boot();
  const page = low();
  const addr = linux.dma_map_page(dev, page, 512, 1024, DMA_TO_DEVICE);
  assert.is(addr, page.phys + 512);
  assert.is(linux.dma_mapping_error(dev, addr), 0);
  assert.is(linux.dma_map_single(dev, page.phys, 4096, DMA_FROM_DEVICE), page.phys);
  assert.is(linux.swiotlb_usage().used, 0);
});

test('DMA-01 a scatter list is mapped entry by entry, and the count is returned', async () => {
  const { linux, dev, low } = await boot();
  const { sgl } = linux.sg_alloc_table(3);
  const pages = [low(), low(), low()];
  [...linux.for_each_sg(sgl, 3)].forEach((sg, i) => {
    linux.sg_set_page(sg, pages[i] as Page, 512, 512 * i);
  });
  assert.is(linux.dma_map_sg(dev, sgl, 3, DMA_TO_DEVICE), 3);
  assert.equal(
    [...linux.for_each_sg(sgl, 3)].map((sg) => [linux.sg_dma_address(sg), linux.sg_dma_len(sg)]),
    pages.map(({ phys }, i) => [phys + 512 * i, 512]),
  );
});

test('DMA-01 no direction is a bug', async () => {
  const { linux, dev, low } = await boot();
  const page = low();
  assert.throws(() => linux.dma_map_page(dev, page, 0, 512, DMA_NONE), isBug('DMA-01'));
  const { sgl } = linux.sg_alloc_table(1);
  assert.throws(() => linux.dma_map_sg(dev, sgl, 1, DMA_NONE), isBug('DMA-01'));
});

test('DMA-01 dma_set_mask takes 24 bits and more', async () => {
  const { linux, dev } = await boot();
  assert.is(linux.dma_set_mask(dev, DMA_BIT_MASK(20)), -EIO);
  assert.is(linux.dma_get_mask(dev), DMA_BIT_MASK(32));
  assert.is(linux.dma_set_mask_and_coherent(dev, DMA_BIT_MASK(24)), 0);
  assert.equal([dev.dma_mask, dev.coherent_dma_mask], [0xffffff, 0xffffff]);
  assert.is(linux.dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
});

test('DMA-02 behind the pool each side sees the other’s bytes only after its sync', async () => {
  const { linux, dev, high, memory } = await boot();
  const page = high();
  memory.fill(page.phys, 1, 4096);
  const addr = linux.dma_map_page(dev, page, 0, 4096, DMA_BIDIRECTIONAL);
  memory.fill(addr, 2, 4096); // the device
  assert.is(memory.read8(page.phys), 1);
  linux.dma_sync_single_for_cpu(dev, addr, 4096, DMA_BIDIRECTIONAL);
  assert.is(memory.read8(page.phys), 2);
  memory.fill(page.phys, 3, 4096);
  assert.is(memory.read8(addr), 2);
  linux.dma_sync_single_range_for_device(dev, addr, 2048, 512, DMA_BIDIRECTIONAL);
  assert.equal([memory.read8(addr + 2047), memory.read8(addr + 2048), memory.read8(addr + 2560)], [2, 3, 2]);
  linux.dma_unmap_page(dev, addr, 4096, DMA_BIDIRECTIONAL);
  assert.equal([memory.read8(page.phys), memory.read8(page.phys + 2048)], [2, 3]);
});

test('DMA-02 a scatter list is synced entry by entry', async () => {
  const { linux, dev, high, low, memory } = await boot();
  const { sgl } = linux.sg_alloc_table(2);
  const second = linux.sg_next(sgl) as Scatterlist;
  linux.sg_set_page(sgl, low(), 512, 0);
  const page = high();
  linux.sg_set_page(second, page, 512, 0);
  linux.dma_map_sg(dev, sgl, 2, DMA_FROM_DEVICE);
  memory.fill(second.dma_address, 7, 512);
  linux.dma_sync_sg_for_cpu(dev, sgl, 2, DMA_FROM_DEVICE);
  assert.is(memory.read8(page.phys), 7);
  linux.dma_sync_sg_for_device(dev, sgl, 2, DMA_FROM_DEVICE); // copies nothing: the CPU had nothing to say
  assert.is(memory.read8(second.dma_address), 7);
  linux.dma_unmap_sg(dev, sgl, 2, DMA_FROM_DEVICE);
  assert.is(linux.swiotlb_usage().used, 0);
});

test('DMA-03 only what reaches beyond the mask is bounced', async () => {
  const { linux, dev, low, high } = await boot();
  const { phys } = low();
  linux.dma_set_mask(dev, phys + 2 ** 24 - 1);
  dev.dma_mask = phys + 511;
  assert.is(linux.dma_map_single(dev, phys, 512, DMA_TO_DEVICE), phys);
  assert.is.not(linux.dma_map_single(dev, phys, 513, DMA_TO_DEVICE), phys); // its last byte is out of reach
  dev.dma_mask = DMA_BIT_MASK(32);
  const addr = linux.dma_map_page(dev, high(), 0, 512, DMA_TO_DEVICE);
  assert.ok(addr < GIB4);
  assert.is(linux.swiotlb_usage().used, 1);
});

test('DMA-03 with force everything is bounced', async () => {
  const { linux, dev, low } = await boot({ swiotlb: { bytes: POOL, force: true } });
  const page = low();
  assert.is.not(linux.dma_map_page(dev, page, 0, 512, DMA_TO_DEVICE), page.phys);
});

test('DMA-03 mapping for the device to write copies nothing in, unmapping copies all out', async () => {
  const { linux, dev, high, memory } = await boot();
  const page = high();
  memory.fill(page.phys, 0xaa, 2048);
  const first = linux.dma_map_page(dev, page, 0, 2048, DMA_BIDIRECTIONAL);
  memory.fill(first, 0x55, 2048);
  linux.dma_unmap_page(dev, first, 2048, DMA_TO_DEVICE);
  const second = linux.dma_map_page(dev, page, 0, 1024, DMA_FROM_DEVICE, 'next-fit goes on behind the first');
  memory.fill(second, 0x11, 1024);
  linux.dma_unmap_page(dev, second, 1024, DMA_FROM_DEVICE);
  assert.equal(
    [memory.read8(page.phys), memory.read8(page.phys + 1023), memory.read8(page.phys + 1024)],
    [0x11, 0x11, 0xaa],
  );
  // The slot still holds what an earlier mapping left: a device that writes less gives that to the CPU.
  for (let i = 0; i < POOL / 2048 - 2; i++) linux.dma_map_page(dev, page, 0, 2048, DMA_FROM_DEVICE);
  const stale = linux.dma_map_page(dev, page, 0, 2048, DMA_FROM_DEVICE);
  assert.is(stale, first);
  linux.dma_unmap_page(dev, stale, 2048, DMA_FROM_DEVICE);
  assert.is(memory.read8(page.phys + 1024), 0x55);
});

test('DMA-03 both ways: copied in when it is mapped, out when it is unmapped', async () => {
  const { linux, dev, high, memory } = await boot();
  const page = high();
  memory.fill(page.phys, 0x21, 512);
  const addr = linux.dma_map_page(dev, page, 0, 512, DMA_BIDIRECTIONAL);
  assert.is(memory.read8(addr + 511), 0x21);
  memory.fill(addr, 0x43, 512);
  linux.dma_unmap_page(dev, addr, 512, DMA_BIDIRECTIONAL);
  assert.is(memory.read8(page.phys + 511), 0x43);
});

test('DMA-03 a sync in a direction in which nothing can have changed copies nothing', async () => {
  const { linux, dev, high, memory } = await boot();
  const page = high();
  memory.fill(page.phys, 1, 512);
  const read = linux.dma_map_page(dev, page, 0, 512, DMA_FROM_DEVICE);
  memory.fill(read, 2, 512);
  linux.dma_sync_single_for_device(dev, read, 512, DMA_FROM_DEVICE);
  assert.is(memory.read8(read), 2);
  const written = linux.dma_map_page(dev, page, 0, 512, DMA_TO_DEVICE);
  memory.fill(written, 3, 512);
  linux.dma_sync_single_for_cpu(dev, written, 512, DMA_TO_DEVICE);
  assert.is(memory.read8(page.phys), 1);
});

test('DMA-04 unmapping what the device only read copies nothing, even when it wrote', async () => {
  const { linux, dev, high, memory } = await boot();
  const page = high();
  memory.fill(page.phys, 1, 512);
  const addr = linux.dma_map_page(dev, page, 0, 512, DMA_TO_DEVICE);
  memory.fill(addr, 2, 512);
  linux.dma_unmap_page(dev, addr, 512, DMA_TO_DEVICE);
  assert.is(memory.read8(page.phys), 1);
  const lost = linux.dma_map_page(dev, page, 0, 512, DMA_FROM_DEVICE);
  memory.fill(lost, 3, 512);
  linux.dma_unmap_page(dev, lost, 512, DMA_TO_DEVICE); // the wrong direction: the data is lost
  assert.is(memory.read8(page.phys), 1);
});

test('DMA-05 slots are 2 KiB, taken next-fit and wrapping once', async () => {
  const { linux, dev, high } = await boot();
  const page = high();
  const map = (size: number) => linux.dma_map_page(dev, page, 0, size, DMA_TO_DEVICE);
  const unmap = (addr: number, size: number) => linux.dma_unmap_page(dev, addr, size, DMA_TO_DEVICE);
  const start = map(1);
  assert.equal([map(2048) - start, map(2049) - start], [2048, 4096]);
  assert.is(linux.swiotlb_usage().used, 4);
  unmap(start, 1);
  assert.is(map(1) - start, 4 * 2048); // not the one that was just freed
  const slots = POOL / 2048;
  for (let i = 5; i < slots; i++) map(1);
  assert.is(map(1), start); // round the end to the free one
  assert.is(linux.swiotlb_usage().used, slots);
});

test('DMA-05 a run that does not fit before the end is searched from the beginning', async () => {
  const { linux, dev, high } = await boot();
  const page = high(1);
  const map = (size: number) => linux.dma_map_page(dev, page, 0, size, DMA_TO_DEVICE);
  const addrs = Array.from({ length: POOL / 2048 - 2 }, () => map(1));
  for (const addr of addrs.slice(0, 4)) linux.dma_unmap_page(dev, addr, 1, DMA_TO_DEVICE);
  assert.is(map(8192), addrs[0]);
});

test('DMA-05 more than a page starts at a page', async () => {
  const { linux, dev, high } = await boot();
  const start = linux.dma_map_page(dev, high(), 0, 1, DMA_TO_DEVICE);
  const addr = linux.dma_map_page(dev, high(1), 0, 4097, DMA_TO_DEVICE);
  assert.equal([addr % 4096, addr - start, linux.swiotlb_usage().used], [0, 4096, 4]);
  linux.dma_map_page(dev, high(), 0, 1, DMA_TO_DEVICE);
  const even = linux.dma_map_page(dev, high(), 0, 1, DMA_TO_DEVICE);
  const page = linux.dma_map_page(dev, high(), 0, 4096, DMA_TO_DEVICE);
  assert.equal([even - start, page - even], [12288, 2048]); // no more than a page: at the next slot
});

test('DMA-05 a mapping never crosses the boundary of the device', async () => {
  const { linux, dev, high } = await boot();
  linux.dma_set_seg_boundary(dev, 8191);
  const start = linux.dma_map_page(dev, high(), 0, 2048, DMA_TO_DEVICE);
  const addr = linux.dma_map_page(dev, high(1), 0, 8192, DMA_TO_DEVICE);
  assert.equal([addr % 8192, addr - start], [0, 8192]);
});

test('DMA-05 more than 256 KiB never fits, and at most 256 KiB in a group of 128 slots', async () => {
  const { linux, dev, high } = await boot({ swiotlb: { bytes: 2 ** 20 } });
  const memory = high(7);
  const small = linux.dma_map_page(dev, high(), 0, 1, DMA_TO_DEVICE);
  const whole = linux.dma_map_page(dev, memory, 0, 256 * 1024, DMA_TO_DEVICE);
  assert.is(whole - small, 256 * 1024);
  assert.throws(() => linux.dma_map_page(dev, memory, 0, 256 * 1024 + 1, DMA_TO_DEVICE), isBug('DMA-06'));
});

test('DMA-06 without a slot dma_map_sg undoes what it did and returns 0', async () => {
  const { linux, dev, high, low, memory } = await boot({ swiotlb: { bytes: 4096 } });
  const table = linux.sg_alloc_table(4);
  const page = high();
  memory.fill(page.phys, 9, 4096);
  const order = [low(), page, page, page];
  [...linux.for_each_sg(table.sgl, 4)].forEach((sg, i) => {
    linux.sg_set_page(sg, order[i] as Page, 2048, 0);
  });
  assert.is(linux.dma_map_sg(dev, table.sgl, 4, DMA_FROM_DEVICE), 0);
  assert.is(linux.swiotlb_usage().used, 0);
  assert.is(memory.read8(page.phys), 9);
  assert.is(linux.dma_map_sg(dev, table.sgl, 3, DMA_FROM_DEVICE), 3);
});

test('DMA-06 without a slot dma_map_page gives the overflow buffer, which is an error', async () => {
  const { linux, dev, high } = await boot({ swiotlb: { bytes: 4096 } });
  const page = high();
  linux.dma_map_page(dev, page, 0, 4096, DMA_TO_DEVICE);
  const addr = linux.dma_map_page(dev, page, 0, 4096, DMA_TO_DEVICE);
  assert.is(addr, linux.swiotlb_overflow());
  assert.is(linux.dma_mapping_error(dev, addr), 1);
  const most = linux.dma_map_page(dev, high(4), 0, IO_TLB_OVERFLOW, DMA_TO_DEVICE);
  assert.is(linux.dma_mapping_error(dev, most), 1);
  assert.throws(
    () => linux.dma_map_page(dev, high(4), 0, IO_TLB_OVERFLOW + 1, DMA_TO_DEVICE),
    isBug('DMA-06'),
  );
});

test('DMA-06 without a pool the mapping fails, and a pool out of reach is none', async () => {
  const { linux, dev, high } = await boot({ swiotlb: false });
  const addr = linux.dma_map_page(dev, high(), 0, 512, DMA_TO_DEVICE);
  assert.equal([addr, linux.dma_mapping_error(dev, addr)], [DMA_ERROR_CODE, 1]);
  const other = await boot();
  linux.dma_set_mask(dev, DMA_BIT_MASK(24));
  const isa = new Device(other.dev.controller);
  other.linux.dma_set_mask(isa, DMA_BIT_MASK(24));
  const page = other.high();
  other.memory.fill(page.phys, 6, 512);
  const far = other.linux.dma_map_page(isa, page, 0, 512, DMA_FROM_DEVICE);
  assert.is(other.linux.dma_mapping_error(isa, far), 1);
  assert.is(other.memory.read8(page.phys), 6); // nothing of the slot came back
  assert.is(other.linux.swiotlb_usage().used, 0);
});

test('DMA-09 a mapping of no bytes through the pool is a bug', async () => {
  const { linux, dev, high } = await boot();
  const page = high();
  assert.throws(() => linux.dma_map_page(dev, page, 1, 0, DMA_TO_DEVICE), isBug('DMA-09'));
});

test('coherent memory is zeroed, aligned to its size and below the coherent mask', async () => {
  const { linux, dev, memory } = await boot();
  linux.dma_set_coherent_mask(dev, DMA_BIT_MASK(24));
  const shared = linux.dma_alloc_coherent(dev, 10000, GFP_KERNEL);
  assert.ok(shared !== null);
  const { cpu_addr, dma_handle, size } = shared;
  assert.equal([cpu_addr % 16384, dma_handle, size], [0, cpu_addr, 10000]);
  assert.ok(cpu_addr + size <= 2 ** 24);
  assert.ok(memory.readBytes(cpu_addr, size).every((byte) => byte === 0));
  const free = linux.kernel.allocator.freePages;
  linux.dma_free_coherent(dev, size, cpu_addr, dma_handle);
  assert.is(linux.kernel.allocator.freePages, free + 4);
  assert.is(linux.dma_alloc_coherent(dev, 2 ** 23, GFP_KERNEL), null);
});

test('dma_narrow cuts an address as a descriptor does', async () => {
  const { linux, dev } = await boot();
  assert.is(linux.dma_narrow(dev, 0xfff000, 0x1000, 24), 0xfff000);
  assert.is(linux.dma_narrow(dev, 0x1234567, 16, 24), 0x234567);
});
