// The requests of a soak: every protocol and route, made of random words, at temperature 0 so that an answer can be told again.

/** A generator of numbers below n from a seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const WORDS = 'owl fern river stone lamp north quiet seven copper branch meadow harbour violet engine paper winter'.split(' ');
const path = { type: 'string', description: 'Path of the file' };
const parameters = (properties) => ({ type: 'object', properties, required: Object.keys(properties) });
const TOOLS = [
  ['write_file', 'Create a file or replace its content.', parameters({ path, content: { type: 'string', description: 'Text to write' } })],
  ['read_file', 'Return the content of a file.', parameters({ path })],
];
const SCHEMA = parameters({ n: { type: 'integer', minimum: 0, maximum: 99 }, on: { type: 'boolean' } });

/** Requests for one seed: { path, body } and what the answer's protocol is. */
export function makeRequests(seed, n) {
  const below = random(seed);
  const pick = (list) => list[below(list.length)];
  const words = (least, most) => Array.from({ length: least + below(most - least + 1) }, () => pick(WORDS)).join(' ');
  const name = () => `${pick(WORDS)}${below(100)}.txt`;
  const ask = () => pick([
    () => 'What is tawny?',
    () => `Create ${name()} containing: ${words(2, 6)}`,
    () => `What is in ${name()}?`,
    () => words(3, 40),
    () => `${words(150, 500)}. What is tawny?`, // a prompt of many pieces
  ])();
  // A conversation with a past, which others share.
  const pasts = Array.from({ length: 4 }, () => [words(5, 200), words(3, 20)]);
  const turns = () => {
    const [question, answer] = pick(pasts);
    const past = [{ role: 'user', content: question }, { role: 'assistant', content: answer }];
    return [...(below(2) ? past : []), { role: 'user', content: ask() }];
  };
  const system = () => (below(2) ? `You are ${words(2, 60)}.` : undefined);
  const length = () => 1 + below(pick([4, 40, 160]));
  const stream = () => below(3) > 0;
  const stop = () => (below(4) ? undefined : [pick(['a', 'the', '\n', 'owl']), 'never seen']);

  const makers = {
    chat: () => {
      const first = system();
      const shape = below(4) ? {} : { response_format: { type: 'json_schema', json_schema: { name: 's', schema: SCHEMA } } };
      return { path: '/v1/chat/completions', body: {
        messages: [...(first ? [{ role: 'system', content: first }] : []), ...turns()], max_tokens: length(), stream: stream(), stop: stop(),
        ...(below(2) ? { tools: TOOLS.map(([n, description, p]) => ({ type: 'function', function: { name: n, description, parameters: p } })) } : shape),
        ...(below(4) ? {} : { logprobs: true, top_logprobs: below(5) }), stream_options: undefined, return_progress: !below(4) } };
    },
    completion: () => ({ path: '/v1/completions', body: { prompt: words(1, 300), max_tokens: length(), stream: stream(), ignore_eos: !below(3), stop: stop(),
      ...(below(4) ? {} : { logprobs: below(5) }), ...(below(4) ? {} : { grammar: 'root ::= ("owl" | "fern" | " ")+' }) } }),
    messages: () => ({ path: '/v1/messages?beta=true', body: { system: system(), messages: turns(), max_tokens: length(), stream: stream(), stop_sequences: stop(),
      ...(below(2) ? { tools: TOOLS.map(([n, description, p]) => ({ name: n, description, input_schema: p })), tool_choice: { type: pick(['auto', 'any', 'none']) } } : {}),
      thinking: { type: pick(['disabled', 'adaptive']) } } }),
    responses: () => ({ path: '/v1/responses', body: { instructions: system(), input: turns(), max_output_tokens: length(), stream: stream(), store: !below(2),
      ...(below(2) ? { tools: [...TOOLS.map(([n, description, p]) => ({ type: 'function', name: n, description, parameters: p })),
        { type: 'custom', name: 'apply_patch', description: 'Changes files.' }] } : {}) } }),
    ollamaChat: () => ({ path: '/api/chat', body: { messages: turns(), stream: stream(), options: { num_predict: length(), temperature: 0, stop: stop() }, think: false } }),
    ollamaGenerate: () => ({ path: '/api/generate', body: { prompt: ask(), stream: stream(), options: { num_predict: length(), temperature: 0 } } }),
    count: () => ({ path: '/v1/messages/count_tokens', body: { system: system(), messages: turns() } }),
    tokenize: () => ({ path: '/tokenize', body: { content: words(1, 500) } }),
    template: () => ({ path: '/apply-template', body: { messages: turns() } }),
    broken: () => pick([
      () => ({ path: '/v1/messages', body: { messages: 7 } }),
      () => ({ path: '/v1/chat/completions', body: { messages: [{ role: 'user', content: words(9000, 9100) }], stream: stream() } }), // does not fit
      () => ({ path: '/v1/responses', body: { input: 'x', previous_response_id: 'resp_nothing' } }),
      () => ({ path: '/api/chat', body: '{"messages": [' }),
      () => ({ path: '/v1/nothing', body: {} }),
    ])(),
  };
  // The model's own work most often.
  const kinds = [...Array(5).fill(['chat', 'messages', 'responses']).flat(), ...Array(2).fill(['completion', 'ollamaChat', 'ollamaGenerate']).flat(),
    'count', 'tokenize', 'template', 'broken'];
  return Array.from({ length: n }, () => {
    const { path: at, body } = makers[pick(kinds)]();
    const fields = typeof body === 'string' ? body : JSON.stringify({ model: 'demo', temperature: 0, ...body });
    return { path: at, body: fields };
  });
}
