// Carries the precompiled headers that rooms without LibTorch share (cmake/SteadfastPrecompiled.cmake).
