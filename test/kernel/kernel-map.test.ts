import { KERNEL_MAP_START, KernelMap, PAGE_SIZE, type Page } from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { assertBug, makeKernel } from './help.ts';

const test = suite('addresses of the kernel');

test('scattered pages have one range of addresses, and nothing stands behind it', async () => {
  const kernel = await makeKernel({ placement: 'scatter' });
  const map = new KernelMap(kernel.memory);
  const take = (count: number): Page[] =>
    Array.from({ length: count }, () => {
      const page = kernel.allocator.alloc();
      if (page === null) throw new Error('no memory');
      return page;
    });
  const [first, second] = [take(3), take(1)];
  const [at, next] = [map.map(first), map.map(second)];
  assert.ok(at >= KERNEL_MAP_START && next > at + 3 * PAGE_SIZE);
  first.forEach((page, i) => {
    assert.is(map.pageAt(at + i * PAGE_SIZE + 17), page);
  });
  assert.is(map.pageAt(at + 3 * PAGE_SIZE), null);
  assert.is(map.pageAt(at - 1), null);
  const bytes = Uint8Array.from({ length: 2 * PAGE_SIZE }, (_, i) => i % 251);
  assert.is(map.write(at + 100, bytes), bytes.length);
  const seen = new Uint8Array(bytes.length);
  assert.is(map.read(at + 100, seen), bytes.length);
  assert.equal(seen, bytes);
  assert.is(map.read(at + 2 * PAGE_SIZE, seen), PAGE_SIZE); // what is there
  map.mustCover('here', at, 3 * PAGE_SIZE, 'test');
  assertBug('here', () => map.mustCover('here', at, 3 * PAGE_SIZE + 1, 'test'));
  assert.is(map.unmap(at + PAGE_SIZE), null); // not where an area begins
  assert.is(map.unmap(at), first);
  assert.is(map.pageAt(at), null);
  assert.is(map.unmap(at), null);
  assert.is(map.pageAt(next), second[0]);
  assert.ok(map.map(take(1)) > next); // no address twice
});
