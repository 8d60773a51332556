"""Operations on mixtures in closed form: mixture -> mixture or array."""
