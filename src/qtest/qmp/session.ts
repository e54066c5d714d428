// One client of QMP: greeting, negotiation, commands in the order in which they come, and events.

import { MachineError } from '../../machine/index.ts';
import { MediumError } from '../../media/index.ts';
import { QtestError } from '../errors.ts';
import type { EventData } from '../system.ts';
import { BLOCK_COMMANDS } from './block.ts';
import { After, type Arguments, type Command, checkArguments, QMP_VERSION, type QmpHost } from './command.ts';
import { JsonStream, parseLoose } from './json-stream.ts';
import { MACHINE_COMMANDS } from './machine.ts';
import { OBJECT_COMMANDS } from './objects.ts';

const COMMANDS: Readonly<Record<string, Command>> = {
  ...MACHINE_COMMANDS,
  ...BLOCK_COMMANDS,
  ...OBJECT_COMMANDS,
};

/** The names of all commands. */
export function commandNames(): readonly string[] {
  return ['qmp_capabilities', ...Object.keys(COMMANDS)].sort();
}

/** Seconds and microseconds of the host's clock. */
export interface Timestamp {
  readonly seconds: number;
  readonly microseconds: number;
}

export interface QmpOutput {
  send(text: string): void;
  timestamp(): Timestamp;
}

export class QmpSession {
  readonly #host: QmpHost;
  readonly #output: QmpOutput;
  readonly #stream = new JsonStream();
  #negotiated = false;
  /** Commands wait for those before them. */
  #last: Promise<void> = Promise.resolve();

  constructor(host: QmpHost, output: QmpOutput) {
    this.#host = host;
    this.#output = output;
    this.#send({ QMP: { version: QMP_VERSION, capabilities: [] } });
  }

  /** Something happened; a client that has not negotiated yet hears nothing. */
  event(name: string, data?: EventData): void {
    if (!this.#negotiated) return;
    this.#send({ timestamp: this.#output.timestamp(), event: name, ...(data === undefined ? {} : { data }) });
  }

  /** Takes what the client sends; resolves when it is answered. */
  receive(text: string): Promise<void> {
    for (const object of this.#stream.push(text)) this.#last = this.#last.then(() => this.#answer(object));
    return this.#last;
  }

  async #answer(text: string): Promise<void> {
    let id: unknown;
    try {
      const request = requestOf(text);
      id = request.id;
      const value = await this.#run(request.execute, request.args);
      const result = value instanceof After || value === undefined ? {} : value;
      this.#send({ return: result, ...(id === undefined ? {} : { id }) });
      if (value instanceof After) value.run();
    } catch (error) {
      const known =
        error instanceof QtestError || error instanceof MachineError || error instanceof MediumError;
      if (!known) throw error;
      const kind = error instanceof QtestError ? error.kind : 'GenericError';
      this.#send({ error: { class: kind, desc: error.message }, ...(id === undefined ? {} : { id }) });
    }
  }

  async #run(name: string, args: Arguments): Promise<Awaited<ReturnType<Command['run']>>> {
    if (name === 'qmp_capabilities') {
      if (this.#negotiated)
        throw new QtestError(
          "Capabilities negotiation is already complete, command 'qmp_capabilities' ignored",
          'CommandNotFound',
        );
      checkArguments({ '*enable': 'any' }, args);
      this.#negotiated = true;
      return {};
    }
    if (!this.#negotiated)
      throw new QtestError("Expecting capabilities negotiation with 'qmp_capabilities'", 'CommandNotFound');
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined)
      throw new QtestError(`The command ${name} has not been found`, 'CommandNotFound');
    checkArguments(command.arguments ?? {}, args);
    return command.run(this.#host, args);
  }

  #send(message: object): void {
    this.#output.send(`${JSON.stringify(message)}\r\n`);
  }
}

interface Request {
  readonly execute: string;
  readonly args: Arguments;
  readonly id: unknown;
}

function requestOf(text: string): Request {
  let value: unknown;
  try {
    value = parseLoose(text);
  } catch (error) {
    throw new QtestError(`JSON parse error, ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new QtestError('QMP input must be a JSON object');
  const { execute, arguments: args = {}, id, ...rest } = value as Record<string, unknown>;
  for (const key of Object.keys(rest)) throw new QtestError(`QMP input member '${key}' is unexpected`);
  if (execute === undefined) throw new QtestError("QMP input lacks member 'execute'");
  if (typeof execute !== 'string') throw new QtestError("QMP input member 'execute' must be a string");
  if (typeof args !== 'object' || args === null || Array.isArray(args))
    throw new QtestError("QMP input member 'arguments' must be an object");
  return { execute, args: args as Arguments, id };
}
