import { createMachine } from '../../src/machine/index.ts';
import { type AnyEvent, formatEvent } from '../../src/trace/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('tracer');

async function machineWithAhci() {
  const machine = await createMachine({ ram: 'small' });
  return { machine, ahci: machine.addController({ kind: 'ahci' }) };
}

test('nothing is recorded while nobody listens', async () => {
  const { machine, ahci } = await machineWithAhci();
  ahci.read32(5, 0);
  const events: AnyEvent[] = [];
  machine.tracer.listen((event) => void events.push(event));
  machine.tracer.collect();
  assert.equal(events, []);
});

test('events of the module and of the host come in the order in which they happened', async () => {
  const { machine, ahci } = await machineWithAhci();
  const names: string[] = [];
  machine.tracer.listen((event) => void names.push(event.name));
  ahci.read32(5, 0);
  machine.tracer.emit('pin', null, { user: 0x1000, pages: 2, write: true });
  ahci.write32(5, 4, 0);
  machine.tracer.collect();
  assert.equal(names.slice(0, 2), ['register_read', 'pin']);
  assert.is(names[2], 'register_write');
});

test('a listener gets the events it asked for until it stops', async () => {
  const { machine, ahci } = await machineWithAhci();
  const events: AnyEvent[] = [];
  const stop = machine.tracer.listen((event) => void events.push(event), ['register_read']);
  ahci.write32(5, 4, 0);
  ahci.read32(5, 0);
  stop();
  assert.not(machine.tracer.enabled);
  ahci.read32(5, 0);
  machine.tracer.collect();
  assert.is(events.length, 1);
  assert.is(events[0]?.device, 'ahci.0');
});

test('the text form names every field of the declaration', () => {
  const event: AnyEvent = {
    name: 'dma',
    time: 12345,
    device: 'ahci.0',
    fields: { address: 0x1_0000_0000, bytes: 512, write: true },
  };
  assert.match(formatEvent(event), /12,345 ns {2}ahci\.0 +dma +address=0x100000000 bytes=512 write=yes/);
});
