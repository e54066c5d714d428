import { bootLinux, EIO, errnoName, IS_ERR } from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('linux kernel');

test('current is the running task, and null outside of tasks', async () => {
  const { kernel } = bootLinux(await createMachine({ ram: 'small' }));
  assert.is(kernel.current, null);
  const comm = kernel.scheduler.complete('dd', function* () {
    yield* kernel.scheduler.yieldNow();
    return kernel.current?.comm;
  });
  assert.is(comm, 'dd');
});

test('an err-ptr is the object or a negative errno', () => {
  assert.is(IS_ERR(-EIO), true);
  assert.is(IS_ERR({}), false);
  assert.is(errnoName(-EIO), '-EIO');
  assert.is(errnoName(0), '0');
});
